//! moto's server, another program than ours that answers as AWS does.

use std::process::{Child, Command};

use crate::workspace::Workspace;

pub(crate) struct Moto {
    server: Child,
    pub endpoint: String,
}

impl Moto {
    /// Ready when it returns; logs into the workspace.
    #[track_caller]
    pub(crate) fn start(work: &Workspace) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = std::fs::File::create(work.path().join("moto.log")).unwrap();
        let server = Command::new("moto_server")
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("moto_server, of moto[server]");
        let moto = Self { server, endpoint: format!("http://127.0.0.1:{port}") };
        assert!(work.appears("moto.log", "Running on"), "{}", work.read("moto.log"));
        moto
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// What the SDK sends requests with, as in the program.
pub(crate) fn http_client() -> aws_sdk_xray::config::SharedHttpClient {
    use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
    aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}
