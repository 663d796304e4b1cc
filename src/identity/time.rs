//! How a moment is written: RFC 3339 for people and for JSON, serde's own form everywhere else.
//!
//! Both forms are read, because sessions that were kept before this one have the other.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The end of the year 9999, the last that is written so, in seconds since 1970.
const LAST: u64 = 253_402_300_799;

#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Parts(SystemTime),
}

pub(super) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    if !serializer.is_human_readable() {
        return time.serialize(serializer);
    }
    // A clock that is wrong by centuries must not keep a session from being opened.
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().min(Duration::from_secs(LAST));
    serializer.collect_str(&humantime::format_rfc3339(SystemTime::UNIX_EPOCH + since))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    if !deserializer.is_human_readable() {
        return SystemTime::deserialize(deserializer);
    }
    match Form::deserialize(deserializer)? {
        Form::Text(text) => humantime::parse_rfc3339(&text).map_err(de::Error::custom),
        Form::Parts(time) => Ok(time),
    }
}
