//! `sb login`, `sb logout`, `sb check-credentials`.

use std::io::IsTerminal as _;

use serde_json::{Value, json};

use super::init::images;
use super::output::Failed;
use super::{Outcome, passthrough};
use crate::cli::Provider as Word;
use crate::container::{ContainerError, Engine, Image};
use crate::execute::credentials::{self as kept, Identity, LoginError, Pasted, Provider};
use crate::execute::{ensure_image, explain};
use crate::exit_code::Exit;
use crate::run::Request;
use crate::settings::Settings;
use crate::terminal::Terminal;
use sb_plan::benchmark::ManifestStep;
use sb_plan::id::RunId;
use sb_plan::plan::Executor;

fn provider(word: Word) -> &'static Provider {
    let name = match word {
        Word::Aws => "aws",
        Word::Azure => "azure",
        Word::Google => "google",
        Word::Ibm => "ibm",
        Word::Pulumi => "pulumi",
    };
    Provider::named(name).unwrap_or(&kept::PROVIDERS[0])
}

fn on_host(settings: &Settings) -> bool {
    settings.executor == Some(Executor::Host)
}

pub(super) async fn login(terminal: &Terminal, settings: &Settings, word: Word, prompt: bool) -> Outcome {
    let provider = provider(word);
    if on_host(settings) {
        return login_on_host(terminal, provider, prompt).await;
    }
    let typed = terminal.is_interactive();
    let pasted = if prompt || !std::io::stdin().is_terminal() {
        Some(ask_for_file(terminal, provider).await?)
    } else if typed {
        None
    } else {
        let message =
            format!("`{}` asks questions, and standard output is no terminal", provider.login.join(" "));
        let help =
            format!("run it in a terminal, or give a file: sb login {} --prompt < FILE", provider.name);
        return Err(Failed::helped(Exit::Usage, message, help));
    };
    let engine = connect().await?;
    let reference = images(settings)?.reference(provider.name).to_owned();
    let image = cli_image(terminal, &engine, &reference).await?;
    let volume = provider.volume();
    if let Some(pasted) = pasted {
        kept::keep(&engine, provider, image, pasted).await.map_err(|error| failed_login(provider, &error))?;
    } else {
        let is_new = !engine.has_volume(&volume).await.map_err(failed)?;
        terminal.say(&format!(
            "`{}` of {reference}; what it keeps goes to the volume `{volume}`",
            provider.login.join(" ")
        ));
        let ended = match kept::interactive(&engine, provider, image, terminal.size()).await {
            Ok(session) => passthrough::pass_through(terminal, session).await,
            Err(error) => Err(failed(error)),
        };
        if !matches!(ended, Ok(Exit::Done)) {
            if is_new {
                // Steps would take it for credentials.
                engine.remove_volume(&volume).await.map_err(failed)?;
            }
            let exit = ended?;
            terminal.say(&format!("`{}` did not succeed: nothing was logged in", provider.login.join(" ")));
            return Ok(exit);
        }
    }
    terminal.say(&format!(
        "credentials for {0} are in the volume `{volume}`; `sb check-credentials {0}` says whose they are",
        provider.name
    ));
    Ok(Exit::Done)
}

async fn ask_for_file(terminal: &Terminal, provider: &Provider) -> Result<Pasted, Failed> {
    let question = format!("paste {}, then press Ctrl-D; nothing is shown", provider.file);
    let Some(text) = passthrough::paste(terminal, &question).await? else {
        return Err(Failed::message(Exit::Interrupted, "given up: nothing was kept"));
    };
    Pasted::read(provider, &text).map_err(|error| {
        Failed::helped(
            Exit::Usage,
            format!("{error}; nothing was kept"),
            format!("what is wanted is {}", provider.file),
        )
    })
}

async fn login_on_host(terminal: &Terminal, provider: &Provider, prompt: bool) -> Outcome {
    let line = provider.login.join(" ");
    if prompt || !std::io::stdin().is_terminal() {
        let message =
            "with the host executor, steps use your own files and environment, which sb does not write";
        let help = format!("log in with `{line}`, or put the file below ~/{}", provider.folder);
        return Err(Failed::helped(Exit::Usage, message, help));
    }
    terminal.say(&format!(
        "with the host executor, steps use your own ~/{} and environment: `{line}`",
        provider.folder
    ));
    let mut command = tokio::process::Command::new(provider.login[0]);
    command.args(&provider.login[1..]);
    passthrough::run_here(command).await.map_err(|source| {
        let error = LoginError::NoProgram { program: provider.login[0].to_owned(), source };
        Failed::message(Exit::Failed, error.to_string())
    })
}

pub(super) async fn check(terminal: &Terminal, settings: &Settings, word: Word) -> Outcome {
    let provider = provider(word);
    let found = if on_host(settings) {
        kept::check_on_host(provider).await
    } else {
        let engine = connect().await?;
        if engine.has_volume(&provider.volume()).await.map_err(failed)? {
            let reference = images(settings)?.reference(provider.name).to_owned();
            let image = cli_image(terminal, &engine, &reference).await?;
            kept::check_in_container(&engine, provider, image).await
        } else {
            Err(ContainerError::NoVolume { volume: provider.volume() }.into())
        }
    };
    let way_in = if on_host(settings) {
        format!("log in with `{}`", provider.login.join(" "))
    } else {
        format!("log in with `sb login {}`", provider.name)
    };
    let (who, said, why) = match found {
        Ok(Identity::Of { who, said }) => (Some(who), said, None),
        Ok(Identity::Nobody { said }) => {
            let why = format!("`{}` knows nobody: {}", provider.identity.join(" "), said.trim());
            (None, Value::Null, Some(why.trim_end_matches([':', ' ']).to_owned()))
        }
        Err(LoginError::Container(error @ ContainerError::NoVolume { .. })) => {
            (None, Value::Null, Some(explain(&error)))
        }
        Err(error) => return Err(Failed::message(Exit::Failed, error.to_string())),
    };
    let exit = if who.is_some() { Exit::Done } else { Exit::Failed };
    if settings.json() {
        let all = json!({
            "version": 1, "provider": provider.name, "executor": settings.executor.unwrap_or_default(), "logged_in": who.is_some(), "who": who,
            "identity": said, "problem": why,
        });
        terminal.data(&format!("{all:#}"))?;
        return Ok(exit);
    }
    match (who, why) {
        (Some(who), _) => terminal.data(&format!("{}: {who}\n", provider.name))?,
        (None, why) => {
            return Err(Failed::helped(
                Exit::Failed,
                format!("{}: {}", provider.name, why.unwrap_or_default()),
                way_in,
            ));
        }
    }
    Ok(exit)
}

pub(super) async fn logout(terminal: &Terminal, settings: &Settings, word: Word, yes: bool) -> Outcome {
    let provider = provider(word);
    if on_host(settings) {
        let message = format!(
            "with the host executor, steps use your own ~/{}, which sb does not touch",
            provider.folder
        );
        return Err(Failed::helped(Exit::Usage, message, "remove what is there by the provider's own means"));
    }
    let engine = connect().await?;
    let volume = provider.volume();
    if !engine.has_volume(&volume).await.map_err(failed)? {
        terminal.say(&format!("nobody is logged in for {}: there is no volume `{volume}`", provider.name));
        return Ok(Exit::Done);
    }
    let needed = if yes { vec![] } else { runs_that_need(terminal, settings, provider).await? };
    if !needed.is_empty() {
        let names: Vec<_> = needed.iter().map(|run| format!("`{run}`")).collect();
        let what =
            format!("{} of this workspace may still need the credentials, to clean up too", names.join(", "));
        match terminal.ask(&format!("{what}.\nLog out? [y/N] "))? {
            Some(true) => {}
            Some(false) => return Err(Failed::message(Exit::Usage, "still logged in")),
            None => {
                let help = "finish or clean up first (`sb leaks`), or say --yes";
                return Err(Failed::helped(Exit::Usage, format!("{what}: still logged in"), help));
            }
        }
    }
    kept::logout(&engine, provider).await.map_err(failed)?;
    terminal.say(&format!("logged out of {}: the volume `{volume}` is gone", provider.name));
    Ok(Exit::Done)
}

/// Runs that have not ended, or owe a cleanup, and whose steps ask for these credentials.
async fn runs_that_need(
    terminal: &Terminal,
    settings: &Settings,
    provider: &Provider,
) -> Result<Vec<RunId>, Failed> {
    let store = super::status::open(terminal, settings)?;
    let mut needing = Vec::new();
    for row in store.runs().await? {
        if row.ended.is_some() && !store.owes(&row.id).await? {
            continue;
        }
        // One that cannot be read any more may need them all the same.
        let needs = match Request::read(&row).and_then(|request| request.rebuild(&store, &row.id)) {
            Ok((plan, graph)) => {
                plan.executor != Executor::Host
                    && graph
                        .graph
                        .node_weights()
                        .filter_map(sb_plan::graph::Step::manifest)
                        .any(|step| asks(step, provider))
            }
            Err(_) => true,
        };
        if needs {
            needing.push(row.id);
        }
    }
    Ok(needing)
}

fn asks(step: &ManifestStep, provider: &Provider) -> bool {
    let named = |environment: &sb_plan::benchmark::Environment| {
        environment.credentials.iter().any(|name| name == provider.name)
    };
    named(&step.environment) || step.recover.iter().any(|recovery| named(&recovery.environment))
}

async fn cli_image(terminal: &Terminal, engine: &Engine, reference: &str) -> Result<String, Failed> {
    let image = Image::Reference(reference.to_owned());
    ensure_image(engine, &image, &|line| terminal.say(&line)).await.map_err(failed)
}

async fn connect() -> Result<Engine, Failed> {
    Engine::connect().await.map_err(failed)
}

fn failed(error: ContainerError) -> Failed {
    Failed::message(Exit::Failed, explain(&error))
}

fn failed_login(provider: &Provider, error: &LoginError) -> Failed {
    let help = format!("give {}", provider.file);
    match error {
        LoginError::Refused { .. } => Failed::helped(Exit::Failed, error.to_string(), help),
        _ => Failed::message(Exit::Failed, error.to_string()),
    }
}
