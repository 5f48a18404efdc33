use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use serde_json::json;
use tokio::time::Instant;

use super::judge::{Judge, Verdict};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn lease(version: &str, renewed: &str) -> Known {
    let lease: Lease = serde_json::from_value(json!({
        "metadata": {
            "name": "kubetether-1a2b3c4d", "uid": "u1", "resourceVersion": version,
            "annotations": { names::SESSION: r#"{"v":1,"who":"ana@laptop","started":"2026-01-02T03:04:05Z"}"# },
        },
        "spec": { "leaseDurationSeconds": 30, "renewTime": renewed },
    }))
    .unwrap();
    Known::of(&lease)
}

/// Looks every two seconds, each answered at once; the verdict after each.
fn watch(judge: &mut Judge, lease: Option<&Known>, from: Instant, looks: u32) -> Vec<Verdict> {
    (1..=looks)
        .map(|look| {
            let now = from + 2 * look * SECOND;
            judge.see(lease, now, now)
        })
        .collect()
}

#[test]
fn dead_only_after_it_was_watched_for_as_long_as_it_holds() {
    let (begin, seen) = (Instant::now(), lease("7", "2026-01-02T03:04:05.000000Z"));
    let mut judge = Judge::new(Some(&seen), begin);
    let verdicts = watch(&mut judge, Some(&seen), begin, 16);
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Unclear).count(), 14, "{verdicts:?}");
    assert_eq!(verdicts[14..], [Verdict::Dead; 2]);
    // It comes back.
    let later = begin + 34 * SECOND;
    assert_eq!(judge.see(Some(&lease("8", "2026-01-02T03:05:00.000000Z")), later, later), Verdict::Lives);
}

#[test]
fn clocks_do_not_matter() {
    // Ten minutes behind, ten minutes ahead, and going backwards: what counts is that it is written.
    for times in [
        ["2000-01-01T00:00:00.000000Z", "2000-01-01T00:00:10.000000Z"],
        ["2100-01-01T00:10:00.000000Z", "2100-01-01T00:10:10.000000Z"],
        ["2026-01-01T00:10:00.000000Z", "2026-01-01T00:00:00.000000Z"],
    ] {
        let begin = Instant::now();
        let mut judge = Judge::new(Some(&lease("7", times[0])), begin);
        let now = begin + 10 * SECOND;
        assert_eq!(judge.see(Some(&lease("8", times[1])), now, now), Verdict::Lives);
        // And one that stands still is dead as soon, whatever stands in it.
        let begin = Instant::now();
        let still = lease("7", times[0]);
        let mut judge = Judge::new(Some(&still), begin);
        assert_eq!(watch(&mut judge, Some(&still), begin, 15).pop(), Some(Verdict::Dead));
        assert_eq!(Known::of(&Lease::default()).duration, DURATION);
    }
}

#[test]
fn what_was_not_watched_does_not_count() {
    let (begin, seen) = (Instant::now(), lease("7", "2026-01-02T03:04:05.000000Z"));
    let mut judge = Judge::new(Some(&seen), begin);
    // The API server was away for a minute: nobody could have renewed anything.
    let back = begin + 60 * SECOND;
    assert_eq!(judge.see(Some(&seen), back, back), Verdict::Unclear);
    assert_eq!(watch(&mut judge, Some(&seen), back, 14).pop(), Some(Verdict::Unclear));
    assert_eq!(watch(&mut judge, Some(&seen), back + 28 * SECOND, 1), [Verdict::Dead]);
    // A slow answer proves nothing about the time that it took.
    let mut judge = Judge::new(Some(&seen), begin);
    judge.see(Some(&seen), begin + SECOND, begin + 30 * SECOND);
    assert_eq!(judge.see(Some(&seen), begin + 31 * SECOND, begin + 31 * SECOND), Verdict::Dead);
    let mut judge = Judge::new(Some(&seen), begin);
    assert_eq!(judge.see(Some(&seen), begin + SECOND, begin + 31 * SECOND), Verdict::Unclear);
}

#[test]
fn one_that_is_deleted_may_come_back_for_a_moment() {
    let (begin, seen) = (Instant::now(), lease("7", "2026-01-02T03:04:05.000000Z"));
    let mut judge = Judge::new(None, begin);
    assert_eq!(watch(&mut judge, None, begin, 4).pop(), Some(Verdict::Unclear));
    let now = begin + 9 * SECOND;
    assert_eq!(judge.see(Some(&seen), now, now), Verdict::Lives);
    let gone = begin + 10 * SECOND;
    assert_eq!(judge.see(None, gone, gone), Verdict::Unclear);
    assert_eq!(watch(&mut judge, None, gone, 5).pop(), Some(Verdict::Dead));
}

/// Golden: what clients of this version write. Never edited, only added to.
#[test]
fn golden_version_1() {
    let text = r#"{"v":1,"who":"ana@laptop","started":"2026-01-02T03:04:05Z"}"#;
    let note: SessionNote = serde_json::from_str(text).unwrap();
    assert_eq!((note.who.as_str(), note.other.len()), ("ana@laptop", 0));
    assert_eq!(serde_json::to_string(&note).unwrap(), text);

    let text =
        r#"{"v":1,"services":{"u1":{"service":"orders","by":"ben@desk","at":"2026-01-02T03:04:05Z"}}}"#;
    let recovered: Recovered = serde_json::from_str(text).unwrap();
    assert_eq!(recovered.services["u1"].by, "ben@desk");
    assert_eq!(serde_json::to_string(&recovered).unwrap(), text);
}

#[test]
fn what_later_versions_add_survives() {
    for text in [
        r#"{"v":2,"who":"ana@laptop","started":"2026-01-02T03:04:05Z","more":{"a":[1,2]}}"#,
        r#"{"v":2,"who":"","started":"","x":null}"#,
    ] {
        let note: SessionNote = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&note).unwrap(), text);
    }
    let text =
        r#"{"v":3,"services":{"u1":{"service":"orders","by":"ben","at":"","why":"demo"}},"sessions":["x"]}"#;
    let recovered: Recovered = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&recovered).unwrap(), text);
}

#[test]
fn what_anybody_wrote_is_shown_plainly() {
    let mut lease = Lease::default();
    let text = r#"{"v":1,"who":"\u001b[31mEVIL\u001b[2J\nline2","started":"\u009b2J"}"#;
    lease.metadata.annotations = Some([(names::SESSION.to_owned(), text.to_owned())].into());
    let note = Known::of(&lease).note;
    assert!(!format!("{}{}", note.who, note.started).chars().any(char::is_control), "{note:?}");
    assert!(note.who.contains("EVIL"), "{note:?}");
}
