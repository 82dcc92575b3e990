//! The traces of a local target that does not run any more: they outlive one that was killed.

use std::path::Path;
use std::sync::Arc;

use sb_daemon::{DaemonError, Lifetime, Stopper};

use super::clock::Clock;
use super::http;
use super::lifetime::last_spec;
use super::recorder::{Limits, Recorder};
use super::{LocalError, trace_log, xray_api};

/// An X-Ray API over what a local target has left, for as long as this is held.
pub struct KeptTraces {
    /// As [`super::LocalRuntime::xray_endpoint`].
    pub endpoint: String,
    _stopper: Stopper,
}

/// Serves the traces that lie in a state folder whose local target does not run; `None`: there are none.
///
/// # Errors
/// They cannot be read, or there is no port.
pub async fn kept_traces(state_dir: &Path) -> Result<Option<KeptTraces>, LocalError> {
    let kept = trace_log::read(state_dir).map_err(LocalError::io("read the traces in", state_dir))?;
    if kept.documents.is_empty() {
        return Ok(None);
    }
    let options = last_spec(state_dir).map(|spec| spec.options).unwrap_or_default();
    let limits = Limits { traces: options.traces, bytes: options.trace_bytes };
    let recorder = Arc::new(Recorder::new(Clock::new(), limits).with(&kept.documents));
    let listener = http::listen(None).await.map_err(DaemonError::Listen)?;
    let endpoint = format!("http://{}", listener.local_addr().map_err(DaemonError::Listen)?);
    let (lifetime, stopper) = Lifetime::new();
    tokio::spawn(http::serve_own(listener, lifetime, move |request| {
        let recorder = Arc::clone(&recorder);
        async move {
            let path = request.uri().path().to_owned();
            xray_api::answer(&recorder, &path, request).await
        }
    }));
    Ok(Some(KeptTraces { endpoint, _stopper: stopper }))
}
