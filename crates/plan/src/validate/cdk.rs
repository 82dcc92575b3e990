//! Steps with `cdk`: the CDK's own program synthesizes a template, which becomes a stack as that of a `sam` step.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::benchmark::Tool;
use crate::manifest::benchmark::{CdkFile, PlatformWord, SamFile, StepFile};
use crate::manifest::decode::Map;
use crate::manifest::problem::{Report, Span};
use crate::manifest::read::normal;
use crate::manifest::tree::Spanned;
use crate::manifest::values::OneOrMany;
use crate::validate::check::ManifestFolder;
use crate::validate::tools::{Asked, CommandLine, Surroundings, command, literal_word, shell_word};

/// `cdk = { … }`, by the AWS CDK.
pub(super) struct Cdk;

/// The program of the application comes before that of the machine. What it prints is for people.
const SYNTHESIZE: &str = "export CDK_DISABLE_CLI_TELEMETRY=true
PATH=$PWD/node_modules/.bin:$PATH
exec cdk synth --quiet --no-version-reporting --no-path-metadata --no-asset-metadata --no-notices --no-color \\
    --output \"$SB_TOOL_STATE\"";

impl CommandLine for Cdk {
    const TOOL: Tool = Tool::Cdk;
    const WHAT: &'static str = "a CDK application";
    const REMOVES: &'static str = "removes the stack";
    const PLATFORM: Option<(PlatformWord, &'static str, &'static str)> =
        Some((PlatformWord::Aws, "AWS", "aws"));
    const DECLARES_OUTPUTS: bool = false;

    fn asked(step: &StepFile) -> Option<(&Span, Asked)> {
        let Spanned { value: file, span } = step.cdk.as_ref()?;
        let has_values =
            file.app.is_some() || file.stack.is_some() || file.context.is_some() || file.parameters.is_some();
        let asked = match (&file.dir, &file.down) {
            (Some(_), None) => Asked::Deploy,
            (None, Some(down)) if down.value && !has_values => Asked::Remove,
            _ => Asked::Unclear,
        };
        Some((span, asked))
    }

    fn deploy(step: &mut StepFile, around: &Surroundings<'_>, report: &mut Report) {
        let Some(Spanned { value: file, span }) = step.cdk.clone() else { return };
        let Some(dir) = &file.dir else { return };
        around.place.existing(around.files, dir, true, "the folder of the CDK application", report);
        let mut script = format!("set -eu\ncd {}\n{SYNTHESIZE}", literal_word(&dir.value));
        if let Some(app) = &file.app {
            let _ = write!(script, " \\\n    --app {}", literal_word(&app.value));
        }
        for (name, value) in file.context.iter().flat_map(Map::iter) {
            let _ = write!(
                script,
                " \\\n    --context {}={}",
                literal_word(&name.value),
                shell_word(&value.value)
            );
        }
        script.push_str(" >&2\n");
        step.run = Some(command(&script, &span));
        let at = |name: &str| Spanned { value: name.to_owned(), span: span.clone() };
        step.image.get_or_insert_with(|| at(Tool::Cdk.name()));
        // `sb` deploys as whoever runs it is known to AWS.
        step.credentials.get_or_insert_with(|| vec![at("aws")]);
    }

    /// The stack of the step's name is removed, wherever its template came from.
    fn remove(step: &mut StepFile, deploy: &StepFile, span: &Span) {
        if deploy.cdk.is_none() {
            step.target = Some(OneOrMany(Vec::new()));
            return;
        }
        let down = Some(Spanned { value: true, span: span.clone() });
        let value = SamFile { template: None, parameters: None, services: None, down };
        step.cdk = None;
        step.sam = Some(Spanned { value, span: span.clone() });
        (step.image, step.env, step.user, step.network, step.limits) = (None, None, None, None, None);
        step.credentials = Some(vec![Spanned { value: "aws".to_owned(), span: span.clone() }]);
    }
}

/// The folder of the application.
pub(super) fn folder(file: &CdkFile, place: &ManifestFolder) -> Option<PathBuf> {
    file.dir.as_ref().map(|dir| normal(&place.folder.join(&dir.value)))
}
