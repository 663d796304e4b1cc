//! Front matter: the YAML at the start of a `SKILL.md`, as the JSON object that its entry repeats.

use serde_json::{Map, Value};

/// The longest front matter. That of published skills has some hundred bytes; each list repeats it.
const MAX_BYTES: usize = 64 << 10;

/// Reads the front matter of a `SKILL.md`. Anchors are resolved within a budget, and a key that
/// occurs twice is rejected.
pub(super) fn read(skill_md: &[u8]) -> Result<Map<String, Value>, String> {
    let text = std::str::from_utf8(skill_md).map_err(|error| format!("it is not UTF-8: {error}"))?;
    let yaml = split(text)?;
    if yaml.len() > MAX_BYTES {
        return Err(format!("its front matter has {} bytes, more than {MAX_BYTES}", yaml.len()));
    }
    // Only YAML 1.2: hosts read `yes` as a text, and compare the front matter with theirs.
    let options = serde_saphyr::options! { strict_booleans: true };
    let value: Value = serde_saphyr::from_str_with_options(yaml, options)
        .map_err(|error| format!("its front matter is not valid: {error}"))?;
    let Value::Object(fields) = value else { return Err("its front matter is not a mapping".into()) };
    for required in ["name", "description"] {
        match fields.get(required) {
            Some(Value::String(_)) => {}
            Some(_) => return Err(format!("the field `{required}` is not a string")),
            None => return Err(format!("the field `{required}` is missing")),
        }
    }
    Ok(fields)
}

/// Returns the lines between the first line `---` and the next one.
fn split(text: &str) -> Result<&str, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_fence = |line: &str| line.trim_end() == "---";
    let first = text.split_inclusive('\n').next().filter(|line| is_fence(line));
    let Some(first) = first else { return Err("it does not begin with front matter, a line `---`".into()) };
    let rest = &text[first.len()..];
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        if is_fence(line) {
            return Ok(&rest[..end]);
        }
        end += line.len();
    }
    Err("its front matter has no end, a second line `---`".into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::server::Skill;

    fn fields(yaml: &str) -> Result<Value, String> {
        read(format!("---\n{yaml}\n---\n# Body\n").as_bytes()).map(Value::Object)
    }

    #[test]
    fn every_field_is_preserved() {
        let yaml = "name: a\ndescription: >\n  Two\n  lines\nlicense: MIT\nmetadata:\n  version: \"1.0\"\n  tags: [x, y]\nsince: 2026-01-01";
        let wanted = json!({"name": "a", "description": "Two lines\n", "license": "MIT",
            "metadata": {"version": "1.0", "tags": ["x", "y"]}, "since": "2026-01-01"});
        assert_eq!(fields(yaml), Ok(wanted));
    }

    #[test]
    fn scalars_have_the_types_of_yaml_1_2() {
        let yaml = "name: a\ndescription: b\nyes: yes\nno: no\ntrue: true\nten: 10\nhalf: 0.5\nnothing: ~\ntext: '10'";
        let read = fields(yaml).unwrap();
        assert_eq!((&read["yes"], &read["no"], &read["true"]), (&json!("yes"), &json!("no"), &json!(true)));
        assert_eq!((&read["ten"], &read["half"], &read["text"]), (&json!(10), &json!(0.5), &json!("10")));
        assert_eq!(read["nothing"], json!(null));
    }

    #[test]
    fn the_front_matter_is_between_two_lines() {
        for good in
            ["---\nname: a\ndescription: b\n---", "\u{feff}---\r\nname: a\r\ndescription: b\r\n---\r\nx\r\n---\r\n"]
        {
            assert_eq!(read(good.as_bytes()).map(Value::Object), Ok(json!({"name": "a", "description": "b"})));
        }
        for bad in
            ["", "# Title", "name: a\n---\n", "---\nname: a\ndescription: b\n", " ---\nname: a\n---\n", "---x\n---\n"]
        {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(read(b"---\nname: \xff\n---\n").is_err());
    }

    #[test]
    fn front_matter_that_is_no_mapping_of_texts_is_rejected() {
        let bomb = (0..30).fold("a0: &a0 [x, x]".to_owned(), |text, at| {
            format!("{text}\na{}: &a{} [*a{at}, *a{at}, *a{at}]", at + 1, at + 1)
        });
        let deep = format!("name: {}{}", "[".repeat(10_000), "]".repeat(10_000));
        let long = format!("name: {}", "a".repeat(MAX_BYTES));
        for bad in [
            "- a",
            "",
            "name: a",
            "description: b",
            "name: 1\ndescription: b",
            "name: a\ndescription: [b]",
            "name: a\nname: b\ndescription: c",
            "name: a\ndescription: Use when: asked",
            "name: a\ndescription: .nan\nx: .nan",
            &bomb,
            &deep,
            &long,
        ] {
            assert!(fields(bad).is_err(), "{}", &bad[..bad.len().min(60)]);
        }
    }

    proptest! {
        /// A skill of values writes a SKILL.md that reads back as the same fields.
        #[test]
        fn written_front_matter_reads_back(description in "\\PC{1,200}", field in "[a-z]{1,9}", value in "\\PC{0,99}", number: i32) {
            let skill = Skill::new("a", description, "Body").field(field, value).field("n", number).field("l", vec![number]);
            prop_assert_eq!(read(&skill.skill_md()), Ok(skill.front_matter));
        }

        #[test]
        fn reading_never_panics(text in any::<Vec<u8>>(), yaml in "[-:{}\\[\\]&*!|>'\"a-z \n]{0,300}") {
            let _ = read(&text);
            let _ = fields(&yaml);
        }
    }
}
