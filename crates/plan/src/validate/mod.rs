//! From raw manifests to checked types: every problem reported, each with a place and a way out.
//!
//! Only this module makes a [`Benchmark`](crate::benchmark::Benchmark) or a [`Plan`](crate::plan::Plan); what holds
//! one need not check again.

mod answer;
mod background;
mod benchmark;
mod bicep;
mod cdk;
mod check;
mod contents;
mod echo;
mod environment;
mod factors;
mod hcl;
mod idle;
mod kind;
mod load;
mod load_arguments;
mod local;
mod matrix;
mod output;
mod overrides;
mod plan;
mod points;
mod precedence;
mod requests;
mod retry;
mod routes;
mod sam;
mod script;
mod shared;
mod shell;
mod stacks;
mod stand_in;
mod step;
mod template;
mod terraform;
mod together;
mod tools;
mod trace_load;
mod traces;
mod unused;
mod usage;
mod users;
mod workload;

pub use benchmark::{benchmark, benchmark_with};
pub use check::{is_name, is_plan, leads_out, look_alike, text};
pub use kind::not_a_template;
pub use load::load_file;
pub use load_arguments::load_arguments;
pub use overrides::variable as param_variable;
pub use plan::{plan, plan_sharing, plan_with, single};
pub use shared::Benchmarks;
pub use stand_in::{StandInRefusal, refused_service, refused_url};

#[cfg(test)]
mod tests;
