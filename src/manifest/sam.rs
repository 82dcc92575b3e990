//! AWS SAM templates, as far as the local target and the validator need them.

/// The names under `Outputs:` of a SAM template.
pub fn output_names(template: &str) -> Result<Vec<String>, String> {
    // Replaced by the SAM reader.
    let mut names = Vec::new();
    let mut inside = false;
    for line in template.lines() {
        if !line.starts_with(' ') && !line.trim().is_empty() {
            inside = line.trim_end() == "Outputs:";
        } else if inside && line.starts_with("  ") && !line.starts_with("   ") {
            names.extend(line.trim().strip_suffix(':').map(str::to_owned));
        }
    }
    Ok(names)
}
