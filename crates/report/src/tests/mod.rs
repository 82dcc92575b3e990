//! Tests of whole datasets.

mod oracle;
