//! The serialized form of a moment: RFC 3339 in human-readable formats, serde's own form in all
//! others.
//!
//! Reading accepts both forms, because stored sessions of earlier versions have the other one.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The end of the year 9999 in seconds since 1970: the last moment that RFC 3339 can write.
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
    // A session can be opened even if the clock is wrong by centuries.
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
