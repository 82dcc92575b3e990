//! Tests of whole datasets.

mod layouts;
mod oracle;
