//! The built command, without a cluster.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn kubetether(args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubetether"));
    command.args(args.split_whitespace()).stdin(Stdio::null());
    // Nothing of the machine's own may be found.
    for variable in ["KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBETETHER_LOG", "NO_COLOR"] {
        command.env_remove(variable);
    }
    command.env("HOME", "/nonexistent");
    command
}

fn run(args: &str) -> Output {
    kubetether(args).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A kubeconfig whose server refuses connections.
fn unreachable(test: &str) -> PathBuf {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}.kubeconfig"));
    let config = format!(
        r#"{{"apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{{"name": "c", "cluster": {{"server": "https://127.0.0.1:{port}"}}}}],
            "users": [{{"name": "u", "user": {{"token": "t"}}}}],
            "contexts": [{{"name": "here", "context": {{"cluster": "c", "user": "u", "namespace": "shop"}}}}]}}"#
    );
    fs::write(&path, config).expect("the build directory can be written");
    path
}

#[test]
fn mistakes_exit_with_2_and_say_what_is_wrong() {
    for (args, part) in [
        ("", "Usage"),
        ("exchange orders --to 0", "not a port"),
        ("forward db", "write HOST:PORT"),
        ("forward db:1 --port 1 --port 2", "--port is given 2 times"),
        ("recover frob/x", "is not a kind"),
        ("status orders", "unexpected argument"),
        ("-A recover orders", "works in one namespace"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args}: {output:?}");
        assert!(text(&output.stderr).contains(part), "{args}: {output:?}");
        assert_eq!(text(&output.stdout), "", "{args}");
    }
}

#[test]
fn version_and_help_are_printed_with_exit_code_0() {
    let version = run("--version");
    assert_eq!(text(&version.stdout), format!("kubetether {}\n", env!("CARGO_PKG_VERSION")));
    let help = run("exchange --help");
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("--to <ENDPOINTS>"));
    assert!(!text(&help.stdout).contains('\x1b'), "no colours into a pipe");
}

#[test]
fn no_kubeconfig_is_a_mistake() {
    let output = run("--kubeconfig /nonexistent/config forward db:5432");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).starts_with("error: "), "{output:?}");
    assert!(text(&output.stderr).contains("/nonexistent/config"), "{output:?}");
}

#[test]
fn an_unknown_context_is_a_mistake() {
    let config = unreachable("context");
    let output = run(&format!("--kubeconfig {} --context elsewhere forward db:5432", config.display()));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("elsewhere"), "{output:?}");
}

#[test]
fn a_cluster_that_cannot_be_reached_exits_with_3_and_one_json_line_per_happening() {
    let config = unreachable("json");
    let output = run(&format!("-o json --kubeconfig {} exchange orders --to 8080", config.display()));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let lines: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let error = lines.last().expect("an error");
    assert_eq!((&error["type"], &error["class"]), (&Value::from("error"), &Value::from("cluster")));
    assert_eq!(error["code"], "unreachable");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn looking_after_a_cluster_that_cannot_be_reached_exits_with_3() {
    let config = unreachable("care");
    for args in ["status --json", "clean --dry-run --json", "recover orders --json", "-o json status --watch"]
    {
        let output = run(&format!("--kubeconfig {} {args}", config.display()));
        assert_eq!(output.status.code(), Some(3), "{args}: {output:?}");
        let told = text(&output.stdout);
        let error: Value = serde_json::from_str(told.lines().last().expect(args)).expect(args);
        assert_eq!((&error["type"], &error["code"]), (&"error".into(), &"unreachable".into()), "{args}");
        assert_eq!(text(&output.stderr), "", "{args}");
    }
}

#[test]
fn logs_that_cannot_be_meant_are_a_mistake() {
    let output = kubetether("forward db:5432").env("KUBETETHER_LOG", "kubetether=loud").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("KUBETETHER_LOG"), "{output:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    for args in ["completions bash", "--help"] {
        let mut child = kubetether(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args}: {output:?}");
        assert_eq!(text(&output.stderr), "", "{args}");
    }
}

#[test]
fn every_shell_can_parse_its_completions_where_it_is_installed() {
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = run(&format!("completions {shell}")).stdout;
        assert!(text(&script).contains("exchange"), "{shell}");
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("completions.{shell}"));
        fs::write(&path, script).unwrap();
        // Only bash is on every machine that runs these tests.
        let Ok(checked) = Command::new(shell).arg(check).arg(&path).output() else {
            assert_ne!(shell, "bash");
            continue;
        };
        assert!(checked.status.success(), "{shell}: {checked:?}");
    }
}
