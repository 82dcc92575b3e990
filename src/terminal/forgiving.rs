//! Standard error as what bars are drawn on: a terminal that may go away at any moment.

use std::io;

use console::Term;
use indicatif::TermLike;

/// A terminal on which nothing fails. Indicatif takes it for a fault of the program when it cannot draw, and panics:
/// a run must go on when its terminal is gone (a lost connection, a tmux server that ended).
#[derive(Debug)]
pub(super) struct Forgiving(Term);

impl Forgiving {
    /// Standard error, written to as a whole when it is flushed.
    pub(super) fn stderr() -> Self {
        Self(Term::buffered_stderr())
    }
}

impl TermLike for Forgiving {
    /// Never 0, which a terminal without a size reports, and which indicatif would divide by.
    fn width(&self) -> u16 {
        self.0.size().1.max(1)
    }

    fn height(&self) -> u16 {
        self.0.size().0.max(1)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_up(n).or(Ok(()))
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_down(n).or(Ok(()))
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_right(n).or(Ok(()))
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_left(n).or(Ok(()))
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.0.write_line(s).or(Ok(()))
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        self.0.write_str(s).or(Ok(()))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line().or(Ok(()))
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush().or(Ok(()))
    }
}
