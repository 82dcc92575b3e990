//! A request of the SDK, sent again after failures that may pass.

use std::time::{Duration, Instant};

use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};

use super::super::answered;
use super::super::pace::back_off;
use super::Class;

/// So long a service may throttle every request.
const PATIENCE: Duration = Duration::from_mins(5);
/// Of a request that gets no answer, or an answer of a service that is broken.
const TRIES: u32 = 5;
const LONGEST_REASON: usize = 1000;

/// A request that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Of the service's own: `ValidationError` …
    pub code: String,
    /// Code and words.
    pub text: String,
    /// The service has not answered.
    pub is_silence: bool,
}

/// Sends a request until it is answered. What it asks for must be safe to ask twice: by a token, or by its nature.
pub(super) async fn call<T, E, F>(request: impl Fn() -> F) -> Result<T, Refused>
where
    F: Future<Output = Result<T, SdkError<E>>>,
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let until = Instant::now() + PATIENCE;
    let mut tries = 0;
    loop {
        tries += 1;
        let error = match request().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let code = error.meta().code().unwrap_or_default().to_owned();
        let text: String = answered(&error).chars().take(LONGEST_REASON).collect();
        let status = match &error {
            SdkError::ServiceError(service) => Some(service.raw().status().as_u16()),
            SdkError::ConstructionFailure(_) => Some(400),
            _ => None,
        };
        let throttled = status == Some(429) || Class::of(&code) == Class::Throttled;
        let passes = match status {
            _ if throttled => Instant::now() < until,
            Some(status) => status >= 500 && tries < TRIES,
            None => tries < TRIES,
        };
        if !passes {
            let text = if throttled && Class::of(&text) != Class::Throttled {
                format!("Throttling: {text}")
            } else {
                text
            };
            return Err(Refused { code, text, is_silence: status.is_none() });
        }
        tokio::time::sleep(back_off(tries)).await;
    }
}
