//! `sb plan estimate`, and the question before a run that is long or expensive.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::Outcome;
use super::history::history;
use super::output::Failed;
use super::plan::build;
use super::preflight;
use crate::cli::Confirm;
use crate::exit_code::Exit;
use crate::printable::counted;
use crate::run::RunError;
use crate::schedule::estimate::{Assumptions, Basis, Estimate, estimate};
use crate::schedule::forecast::about;
use crate::settings::Settings;
use crate::store::Store;
use crate::terminal::Terminal;
use crate::workspace::absolute;
use sb_plan::graph::{self, Parts, RunGraph};
use sb_plan::plan::{Order, Plan, Prices, expand};

pub(super) async fn show(
    terminal: &Terminal,
    settings: &Settings,
    path: &Path,
    assume: &[String],
) -> Outcome {
    let mut assumptions = Assumptions::default();
    for text in assume {
        assumptions.set(text).map_err(|error| Failed::message(Exit::Usage, error.to_string()))?;
    }
    let prices = prices(settings)?;
    let (plan, graph) = build(terminal, settings, path)?;
    let workspace = settings.workspace(&absolute(path));
    let history = history(&super::status::look(terminal, settings, &workspace)?, &plan).await?;
    let found = estimate(&plan, &graph, &assumptions, &history, &prices);
    // Applications overlap in every order but this one.
    let interleaved = (plan.order == Order::Sequential && plan.entries.len() > 1).then(|| {
        let mut other = plan.clone();
        other.order = Order::Interleaved;
        let graph = graph::build(&other, expand(&other), Parts::ALL);
        estimate(&other, &graph, &assumptions, &history, &prices).makespan
    });
    let shortest = plan.shortest().map(|other| {
        let graph = graph::build(&other, expand(&other), Parts::ALL);
        estimate(&other, &graph, &assumptions, &history, &prices)
    });
    let accounts = preflight::look(&plan, true).await;
    let text = if settings.json() {
        let mut all = as_json(&plan, &found, &prices, interleaved);
        all["fewest_trials"] = shortest.as_ref().map_or(serde_json::Value::Null, |shortest| {
            json!({
                "trials": shortest.trials,
                "steps": shortest.steps,
                "invocations": shortest.invocations,
                "predicted_s": shortest.makespan.as_secs_f64(),
                "cost_usd": shortest.usd(),
            })
        });
        all["accounts"] = accounts.iter().map(preflight::Finding::to_json).collect();
        format!("{all:#}\n")
    } else {
        let mut text = as_text(&plan, &found, &prices, interleaved);
        if let Some(shortest) = &shortest {
            let cost = match shortest.usd() {
                Some(usd) if usd > 0.0 => format!(", {usd:.2} USD"),
                _ => String::new(),
            };
            text += &format!(
                "\nThis is the most. If every deployment is precise enough after the fewest trials (`until`): \
                 {}, {}, {}{cost}\n",
                counted(shortest.trials, "trial"),
                counted(shortest.invocations, "invocation"),
                short(shortest.makespan)
            );
        }
        for account in &accounts {
            text += &format!("\n{}", account.to_text());
        }
        text
    };
    terminal.data(&text)?;
    Ok(Exit::Done)
}

/// A run that is predicted to take longer says so before it begins.
const LONG: Duration = Duration::from_mins(1);

/// What a run will take, as far as earlier ones tell.
pub(super) async fn predict(
    terminal: &Terminal,
    plan: &Plan,
    graph: &RunGraph,
    store: &Store,
    prices: &Prices,
) -> Result<Estimate, Failed> {
    let estimate = estimate(plan, graph, &Assumptions::default(), &history(store, plan).await?, prices);
    if estimate.makespan >= LONG {
        terminal.say(&format!("this is predicted to take {}", about(estimate.makespan)));
    }
    Ok(estimate)
}

/// Refuses a run whose predicted cost is above its budget. Asks before one that is long, expensive, or of unknown cost.
pub(super) fn confirm(
    terminal: &Terminal,
    plan: &Plan,
    estimate: &Estimate,
    limits: &Confirm,
) -> Result<(), Failed> {
    if let (Some(limit), Some(usd)) = (plan.budget.cost_usd, estimate.usd())
        && usd > limit
    {
        return Err(Failed::helped(
            Exit::Usage,
            format!("the plan is predicted to cost {usd:.2} USD, and its budget is {limit} USD"),
            "raise `cost_usd` in [budget], or make the plan smaller; `sb plan estimate` shows what costs how much",
        ));
    }
    let mut why = Vec::new();
    if estimate.makespan > limits.confirm_duration {
        why.push(format!(
            "is predicted to take {} (asked above {})",
            short(estimate.makespan),
            short(limits.confirm_duration)
        ));
    }
    match estimate.usd() {
        Some(usd) if usd > limits.confirm_cost_usd => {
            why.push(format!(
                "is predicted to cost {usd:.2} USD (asked above {} USD)",
                limits.confirm_cost_usd
            ));
        }
        Some(_) => {}
        None => {
            let unknown: Vec<_> = estimate.costs.iter().filter(|cost| cost.usd.is_none()).collect();
            let names: Vec<_> = unknown.iter().map(|cost| format!("`{}`", cost.target)).collect();
            why.push(format!(
                "costs an unknown amount on {} (declare what an invocation uses in [targets.NAME.usage])",
                names.join(", ")
            ));
        }
    }
    if limits.yes || why.is_empty() {
        return Ok(());
    }
    let what = format!("{} {}", plan.name, why.join(" and "));
    match terminal.ask(&format!("{what}.\nRun it? [y/N] "))? {
        Some(true) => Ok(()),
        Some(false) => Err(Failed::message(Exit::Usage, "nothing was started")),
        None => Err(Failed::helped(
            Exit::Usage,
            format!("{what}, and there is no terminal to ask on: nothing was started"),
            "say `--yes` to run it all the same; `sb plan estimate` shows the prediction",
        )),
    }
}

/// The prices that count: the built-in ones, with those of SB_PRICES in their place.
pub(super) fn prices(settings: &Settings) -> Result<Prices, RunError> {
    let Some(path) = &settings.prices else { return Ok(Prices::built_in()) };
    let text = sb_durable::read_regular_text(path).map_err(|error| {
        let message = format!("cannot read `{}`, which SB_PRICES names: {error}", path.display());
        RunError::Table { message, help: Some("correct the path, or unset SB_PRICES".to_owned()) }
    })?;
    let with = Prices::built_in().with(&text);
    with.map_err(|error| RunError::Table { message: format!("{}: {error}", path.display()), help: None })
}

fn as_text(plan: &Plan, estimate: &Estimate, prices: &Prices, interleaved: Option<Duration>) -> String {
    let mut text = String::new();
    let _ = write_text(&mut text, plan, estimate, prices, interleaved);
    text
}

fn write_text(
    out: &mut String,
    plan: &Plan,
    estimate: &Estimate,
    prices: &Prices,
    interleaved: Option<Duration>,
) -> Result<(), std::fmt::Error> {
    let about = if estimate.invocations_basis == Basis::Known { "" } else { "about " };
    writeln!(
        out,
        "{}: {}, {}, {about}{}, {}\n",
        plan.name,
        counted(estimate.deployments, "deployment"),
        counted(estimate.trials, "trial"),
        counted(estimate.invocations, "invocation"),
        counted(estimate.steps, "step")
    )?;
    let (makespan, bound) = (estimate.makespan, estimate.lower_bound());
    writeln!(out, "predicted duration    {:>14}", short(makespan))?;
    writeln!(
        out,
        "lower bound           {:>14}   predicted is {} times this",
        short(bound),
        ratio(makespan, bound)
    )?;
    writeln!(
        out,
        "one after another     {:>14}   {} times the predicted",
        short(estimate.sequential),
        ratio(estimate.sequential, makespan)
    )?;
    if let Some(interleaved) = interleaved {
        let (what, other) = ("in interleaved order", short(interleaved));
        writeln!(out, "{what:<22}{other:>14}   [trials] order; this plan's is sequential")?;
    }
    writeln!(out, "\nno run can be shorter than")?;
    for bound in &estimate.bounds {
        writeln!(out, "  {:>14}  {}", short(bound.duration), bound.what)?;
    }
    writeln!(out, "\n  {:<28}{:>9}{:>14}{:>16}  how it is known", "steps", "number", "each", "together")?;
    for kind in &estimate.kinds {
        let each = Duration::from_millis(kind.total.as_millis() as u64 / kind.count.max(1));
        let basis = match kind.basis {
            Basis::Known => "known from the plan",
            Basis::Measured => "measured: median of earlier runs",
            Basis::Assumed => "assumed (--assume)",
        };
        let (each, total) = (short(each), short(kind.total));
        writeln!(out, "  {:<28}{:>9}{each:>14}{total:>16}  {basis}", kind.what, kind.count)?;
    }
    writeln!(out, "\ncost")?;
    for cost in &estimate.costs {
        let name = &cost.target;
        let amount = match cost.usd {
            _ if cost.free => "nothing (it uses no cloud)".to_owned(),
            None => format!("unknown; declare what an invocation uses in [targets.{name}.usage]"),
            Some(usd) => format!("{usd:.2} USD"),
        };
        writeln!(out, "  {name}: {amount}")?;
        for (item, (units, usd)) in &cost.items {
            let Some(price) = prices.get(item) else { continue };
            writeln!(
                out,
                "    {item:<28}{units:>14.1} units{usd:>12.4} USD  {} ({}, {}, {})",
                price.what, price.region, price.as_of, price.source
            )?;
        }
    }
    if estimate.costs.iter().any(|cost| !cost.items.is_empty()) {
        writeln!(
            out,
            "  list prices, before free tiers and taxes; the machine that sends the load is yours"
        )?;
    }
    if let Some(limit) = plan.budget.cost_usd {
        writeln!(out, "  the plan's budget is {limit} USD")?;
    }
    Ok(())
}

fn as_json(
    plan: &Plan,
    estimate: &Estimate,
    prices: &Prices,
    interleaved: Option<Duration>,
) -> serde_json::Value {
    let kinds = estimate.kinds.iter().map(|kind| {
        json!({ "what": kind.what, "basis": kind.basis, "count": kind.count, "total_s": kind.total.as_secs_f64() })
    });
    let costs = estimate.costs.iter().map(|cost| {
        let items = cost.items.iter().map(|(name, (units, usd))| {
            let price = prices.get(name);
            json!({
                "name": name,
                "units": units,
                "usd": usd,
                "region": price.map(|price| &price.region),
                "as_of": price.map(|price| &price.as_of),
                "source": price.map(|price| &price.source),
            })
        });
        json!({ "target": cost.target, "usd": cost.usd, "free": cost.free, "items": items.collect::<Vec<_>>() })
    });
    let bounds = estimate.bounds.iter();
    json!({
        "version": 1,
        "plan": plan.name,
        "deployments": estimate.deployments,
        "trials": estimate.trials,
        "steps": estimate.steps,
        "invocations": estimate.invocations,
        "invocations_basis": estimate.invocations_basis,
        "predicted_s": estimate.makespan.as_secs_f64(),
        "lower_bound_s": estimate.lower_bound().as_secs_f64(),
        "sequential_s": estimate.sequential.as_secs_f64(),
        "interleaved_s": interleaved.map(|duration| duration.as_secs_f64()),
        "bounds": bounds
            .map(|bound| json!({ "what": bound.what, "duration_s": bound.duration.as_secs_f64() }))
            .collect::<Vec<_>>(),
        "kinds": kinds.collect::<Vec<_>>(),
        "cost_usd": estimate.usd(),
        "costs": costs.collect::<Vec<_>>(),
        "budget_usd": plan.budget.cost_usd,
    })
}

fn ratio(of: Duration, to: Duration) -> String {
    if to.is_zero() { "—".to_owned() } else { format!("{:.2}", of.as_secs_f64() / to.as_secs_f64()) }
}

/// A duration with its two largest units: `60h 12m`, `3m 20s`, `1.25s`, `20ms`.
fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        1..60 => format!("{:.2}s", duration.as_secs_f64()),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}
