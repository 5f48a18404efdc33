use serde_json::json;

use super::*;
use crate::cluster::kubeconfig::Exec;

const V1: &str = VERSIONS[0];

fn exec(entry: serde_json::Value) -> Exec {
    serde_json::from_value(entry).unwrap()
}

#[cfg(unix)]
fn shell(script: &str) -> Plugin {
    let entry = json!({
        "apiVersion": V1, "command": "sh", "args": ["-c", script], "interactiveMode": "Never", "installHint": "get it",
    });
    Plugin::new(&exec(entry), &Cluster::default(), "dev").unwrap()
}

#[cfg(unix)]
async fn failure(plugin: &Plugin, deadline: Duration) -> (String, String) {
    let error = plugin.run(deadline).await.unwrap_err();
    let LoadError::Exec { problem, stderr, .. } = error else { panic!("{error:?}") };
    (problem, stderr)
}

const LONG: Duration = Duration::from_secs(60);

#[cfg(unix)]
#[tokio::test]
async fn a_plugin_that_hangs_is_ended_at_the_deadline_and_its_words_are_kept() {
    let folder = tempfile::TempDir::new().unwrap();
    let pid = folder.path().join("pid");
    let script = format!("echo $$ > '{}'; echo open https://login >&2; exec sleep 600", pid.display());
    let plugin = shell(&script);
    // Long enough for a shell to start, on a busy machine too; a shorter one would only miss its words.
    let (problem, stderr) = failure(&plugin, Duration::from_secs(2)).await;
    assert!(problem.contains("gave no credentials within 2 s and was stopped"), "{problem}");
    assert_eq!(stderr, "open https://login");
    let pid = std::fs::read_to_string(pid).unwrap();
    let alive = Command::new("kill").args(["-0", pid.trim()]).stderr(Stdio::null()).status().unwrap();
    assert!(!alive.success(), "it still runs");
}

#[cfg(unix)]
#[tokio::test]
async fn a_daemon_left_behind_does_not_hold_us_up() {
    let answer = json!({ "apiVersion": V1, "status": { "token": "t" } });
    // The background process keeps both pipes open long after the plugin has ended.
    let plugin = shell(&format!("sleep 30 & echo '{answer}'"));
    let given =
        tokio::time::timeout(Duration::from_secs(15), plugin.run(LONG)).await.expect("held up").unwrap();
    assert_eq!(given.token, Some(Secret::new("t")));
}

#[cfg(unix)]
#[tokio::test]
async fn a_plugin_that_says_much_neither_stalls_nor_fills_memory() {
    let plugin = shell("head -c 3000000 /dev/zero | tr '\\0' 'x' >&2; echo the end >&2; exit 3");
    let (problem, stderr) = failure(&plugin, LONG).await;
    assert!(problem.contains("exit status: 3"), "{problem}");
    assert!(stderr.len() < STDERR_SHOWN + 10, "{}", stderr.len());
}

#[cfg(unix)]
#[tokio::test]
async fn standard_input_is_not_shared() {
    // `cat` ends at once only if its input is empty.
    let answer = json!({ "apiVersion": V1, "status": { "token": "t" } });
    shell(&format!("cat; echo '{answer}'")).run(LONG).await.unwrap();
}

#[tokio::test]
async fn a_missing_command_is_explained_with_its_hint() {
    for (command, expected) in [("kubetether-no-such-login", "PATH"), ("/nowhere/login", "correct its path")]
    {
        let entry =
            json!({ "apiVersion": V1, "command": command, "args": ["a b"], "installHint": "get it\n" });
        let error =
            Plugin::new(&exec(entry), &Cluster::default(), "dev").unwrap().run(LONG).await.unwrap_err();
        let text = error.to_string();
        for part in [&format!("`{command} 'a b'`"), expected, "advises: get it"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

#[test]
fn an_interactive_plugin_needs_a_terminal() {
    if std::io::stdin().is_terminal() {
        return; // Run by hand from a terminal there is nothing to refuse.
    }
    let entry = |mode: &str| json!({ "apiVersion": V1, "command": "login", "interactiveMode": mode });
    let new = |mode| Plugin::new(&exec(entry(mode)), &Cluster::default(), "dev");
    let error = new("Always").err().unwrap().to_string();
    assert!(error.contains("no terminal") && error.contains("login"), "{error}");
    assert!(new("Sometimes").err().unwrap().to_string().contains("Sometimes"));
    for mode in ["Never", "IfAvailable", ""] {
        assert!(!new(mode).unwrap().interactive);
    }
}

#[test]
fn an_answer_is_checked_as_kubectl_does_and_never_quoted() {
    let status = |status: serde_json::Value| json!({ "apiVersion": V1, "status": status }).to_string();
    let cases = [
        (String::new(), "no credentials"),
        ("hush: [".to_owned(), "not an ExecCredential"),
        ("\"hush\"".to_owned(), "not an ExecCredential"),
        (json!({ "apiVersion": VERSIONS[1], "status": { "token": "hush" } }).to_string(), "v1beta1"),
        (json!({ "apiVersion": V1 }).to_string(), "without a status"),
        (status(json!({})), "neither a token nor"),
        (status(json!({ "token": " " })), "neither a token nor"),
        (status(json!({ "token": "hu sh" })), "no header may"),
        (status(json!({ "clientKeyData": "hush" })), "key without its certificate"),
        (status(json!({ "clientCertificateData": "hush" })), "certificate without its key"),
        (status(json!({ "token": "hush", "expirationTimestamp": "soon" })), "expirationTimestamp"),
    ];
    for (text, expected) in cases {
        let problem = parse(text.as_bytes(), V1).unwrap_err();
        assert!(problem.contains(expected) && !problem.contains("hush"), "{text}: {problem}");
    }
}

#[test]
fn yaml_and_both_versions_are_understood() {
    for version in VERSIONS {
        let text = format!(
            "apiVersion: {version}\nkind: ExecCredential\nstatus:\n  token: t\n  expirationTimestamp: 2030-01-02T03:04:05+01:00\n"
        );
        let given = parse(text.as_bytes(), version).unwrap();
        assert_eq!(given.token, Some(Secret::new("t")));
        let expires = given.expires.unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(expires.as_secs(), 1_893_549_845);
    }
}
