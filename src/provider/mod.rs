//! Clouds, and the local target that stands in for one.

pub mod account;
pub mod app_insights;
pub mod aws;
pub mod collect;
pub mod google;
pub mod otlp;
pub mod retrieval;
pub mod sampling;

mod pace;
mod signed;
pub(crate) mod stacks;

use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};

/// What went wrong, as far down as its causes tell, without repetitions and without the inner form of types.
fn explained(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let more = deeper.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = deeper.source();
    }
    text
}

/// As [`explained`], with what the service itself answered.
fn answered<E, R>(error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let meta = error.meta();
    match (meta.code(), meta.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => explained(error),
    }
}
