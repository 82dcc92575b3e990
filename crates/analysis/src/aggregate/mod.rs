//! The critical paths of many traces at once: a tree of operations ([`PathTree`]), as pictures and stacks, and what differs between
//! two of them.

pub(crate) mod difference;
pub(crate) mod distribution;
pub(crate) mod flame;
pub(crate) mod tree;
pub(crate) mod typical;

#[cfg(test)]
mod tests;
