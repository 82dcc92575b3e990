//! A template as it was read, for whoever asks it something.

use std::collections::BTreeMap;
use std::fmt;

use super::tree::{self, Node};
use super::{Application, Place, Problem, Reader, Severity, entries, parameters, problem};

/// A SAM template that was read, and is not yet evaluated. Reading is the only thing that costs time: whoever has one
/// passes it on.
///
/// ```
/// use std::collections::BTreeMap;
/// use sb_sam::{Place, Template};
///
/// let template = Template::parse("
/// Resources:
///   Hello:
///     Type: AWS::Serverless::Function
///     Properties: {Handler: app.handler, Runtime: python3.13, CodeUri: src}
/// ").map_err(|problem| problem.to_string())?;
/// let place = Place {
///     region: "us-east-1".to_owned(),
///     account: "000000000000".to_owned(),
///     stack: "shop".to_owned(),
///     api_base: "http://127.0.0.1:8080".to_owned(),
///     aws_base: "http://127.0.0.1:8081".to_owned(),
/// };
/// let application = template.application(&BTreeMap::new(), &place).map_err(|problems| problems[0].to_string())?;
/// assert_eq!(application.functions[0].name, "shop-Hello");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Template {
    pub(super) source: String,
    pub(super) root: Node,
}

impl fmt::Debug for Template {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Template({} bytes)", self.source.len())
    }
}

impl Template {
    /// Reads a template, which is YAML or JSON.
    ///
    /// # Errors
    /// The text is neither, holds several documents, or is nested or repeated beyond reason.
    pub fn parse(source: impl Into<String>) -> Result<Self, Problem> {
        let source = source.into();
        let root = tree::parse(&source).map_err(|fault| problem(None, fault))?;
        Ok(Self { source, root })
    }

    /// The text that was read.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The names under `Outputs:`, in their order.
    pub fn output_names(&self) -> Vec<String> {
        self.names_under("Outputs")
    }

    /// The names under `Parameters:`, in their order.
    pub fn parameter_names(&self) -> Vec<String> {
        self.names_under("Parameters")
    }

    /// The parameters that must be given, since they have no default.
    pub fn required_parameters(&self) -> Vec<String> {
        let parameters = entries(self.root.get("Parameters")).iter();
        let required = parameters.filter(|parameter| parameter.node.get("Default").is_none());
        required.map(|parameter| parameter.key.clone()).collect()
    }

    fn names_under(&self, section: &str) -> Vec<String> {
        entries(self.root.get(section)).iter().map(|entry| entry.key.clone()).collect()
    }

    /// The names among those given that stand for no parameter of the template. `memory_size` stands for `MemorySize`.
    pub fn unknown_parameters(&self, given: &BTreeMap<String, String>) -> Vec<String> {
        parameters::unknown(&self.parameter_names(), given)
    }

    /// What CloudFormation would refuse of the values of the template's parameters, its own defaults among them.
    /// Those that are neither given nor have a default are left out.
    pub fn refused_parameters(&self, given: &BTreeMap<String, String>) -> Vec<Problem> {
        parameters::refused(&self.root, given)
    }

    /// The template's parameters that have no default and are not among those given.
    pub fn missing_parameters(&self, given: &BTreeMap<String, String>) -> Vec<Problem> {
        parameters::missing(&self.root, given)
    }

    /// Evaluates the template. `parameters` override the defaults of `Parameters`; `memory_size` is `MemorySize`.
    ///
    /// # Errors
    /// What is more than a warning.
    pub fn application(
        &self,
        parameters: &BTreeMap<String, String>,
        place: &Place,
    ) -> Result<Application, Vec<Problem>> {
        let (application, serious) = self.as_far_as_possible(parameters, place);
        if serious.is_empty() { Ok(application) } else { Err(serious) }
    }

    /// As [`application`](Self::application), for whoever wants to know what the template holds although something stands
    /// in its way: the application as far as it can be evaluated, and what is more than a warning. Functions and
    /// resources that such a problem names may lack what the problem is about.
    pub fn as_far_as_possible(
        &self,
        parameters: &BTreeMap<String, String>,
        place: &Place,
    ) -> (Application, Vec<Problem>) {
        let mut reader = Reader { root: &self.root, problems: Vec::new() };
        let application = reader.read(parameters, place);
        let is_warning = |problem: &Problem| problem.severity == Severity::Warning;
        let (warnings, serious) = reader.problems.into_iter().partition(is_warning);
        (Application { warnings, ..application }, serious)
    }
}
