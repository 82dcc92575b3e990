//! `sb ui`: the page of a run, until Ctrl-C or until nobody reads where it is.

use serde_json::json;

use super::Outcome;
use super::output::Failed;
use super::status::{Wanted, watched};
use crate::exit_code::Exit;
use crate::settings::Settings;
use crate::terminal::Terminal;
use crate::ui::Page;

pub(super) async fn ui(terminal: &Terminal, settings: &Settings, run: Option<String>, port: u16) -> Outcome {
    let watched = watched(terminal, settings, run.as_deref().map_or(Wanted::Newest, Wanted::Named)).await?;
    let run = watched.row.id.clone();
    let page = Page::bind(watched, port).await.map_err(|error| {
        let help = "name another port, or none: then one that is free is taken";
        Failed::helped(Exit::Failed, format!("cannot listen on 127.0.0.1:{port}: {error}"), help)
    })?;
    let (url, port) = (page.url()?, page.address()?.port());
    if settings.json() {
        terminal.data(&json!({ "version": 1, "run": run, "url": url, "port": port }).to_string())?;
    } else {
        terminal.data(&url)?;
    }
    terminal.say(&format!(
        "{run} is shown at this address, to whoever knows it, until Ctrl-C\n\
         from another machine: ssh -L {port}:127.0.0.1:{port} HOST, then the same address there"
    ));
    tokio::select! {
        never = page.serve() => match never {},
        ended = interrupted() => ended.map(|()| Exit::Done).map_err(Failed::from),
        () = terminal.abandoned() => Ok(Exit::Done),
    }
}

async fn interrupted() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = tokio::signal::ctrl_c() => ended,
        _ = terminate.recv() => Ok(()),
    }
}
