use tempfile::TempDir;

use super::*;

/// A folder to write kubeconfigs in, and an environment of its own.
struct Place {
    folder: TempDir,
    env: Vec<(&'static str, OsString)>,
}

impl Place {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), env: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn set(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.env.push((name, value.into()));
    }

    fn list(&mut self, names: &[&str]) {
        let paths = std::env::join_paths(names.iter().map(|name| self.path(name))).unwrap();
        self.set("KUBECONFIG", paths);
    }

    fn select(&self, options: Options<'_>) -> Result<Selected, LoadError> {
        let env = |name: &str| self.env.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
        select(options, Surroundings { env: &env, service_account: &self.path("account") })
    }

    fn chosen(&self) -> Selected {
        self.select(Options::default()).unwrap()
    }

    fn refused(&self) -> LoadError {
        self.select(Options::default()).unwrap_err()
    }
}

fn by(context: &str) -> Options<'_> {
    Options { context: Some(context), ..Options::default() }
}

/// A whole kubeconfig of one context, cluster and user, all of one name.
fn one(name: &str, server: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: {name}\n\
         clusters: [{{name: {name}, cluster: {{server: \"{server}\"}}}}]\n\
         contexts: [{{name: {name}, context: {{cluster: {name}, user: {name}, namespace: of-{name}}}}}]\n\
         users: [{{name: {name}, user: {{token: token-{name}}}}}]\n"
    )
}

#[test]
fn the_first_file_to_set_a_name_wins() {
    let mut place = Place::new();
    place.write("a", one("red", "https://a"));
    place.write("b", format!("{}---\n{}", one("red", "https://b"), one("blue", "https://b2")));
    place.list(&["missing", "a", "b"]);
    let red = place.chosen();
    assert_eq!((red.server.to_string(), red.context.as_deref()), ("https://a/".into(), Some("red")));
    let blue = place.select(by("blue")).unwrap();
    assert_eq!((blue.server.to_string(), blue.namespace.as_str()), ("https://b2/".into(), "of-blue"));
    assert_eq!(blue.user.token.reveal(), "token-blue");
}

#[test]
fn the_current_context_is_of_the_first_file_that_sets_one() {
    let mut place = Place::new();
    place.write("a", one("red", "https://a").replace("current-context: red", "current-context: \"\""));
    place.write("b", one("blue", "https://b"));
    place.list(&["a", "b"]);
    assert_eq!(place.chosen().context.as_deref(), Some("blue"));
}

#[test]
fn an_empty_list_means_the_home_folder() {
    let mut place = Place::new();
    place.write(".kube/config", one("home", "https://home"));
    place.set("HOME", place.path(""));
    assert_eq!(place.chosen().context.as_deref(), Some("home"));
    place.set("KUBECONFIG", "");
    assert_eq!(place.chosen().context.as_deref(), Some("home"));
}

#[test]
fn a_named_file_is_the_only_one_and_must_be_there() {
    let mut place = Place::new();
    place.write("listed", one("red", "https://a"));
    place.list(&["listed"]);
    let named = place.write("named", one("blue", "https://b"));
    let options = Options { kubeconfig: Some(&named), ..Options::default() };
    assert_eq!(place.select(options).unwrap().context.as_deref(), Some("blue"));
    std::fs::remove_file(&named).unwrap();
    let error = place.select(options).unwrap_err();
    assert!(matches!(&error, LoadError::Read { path, .. } if *path == named), "{error:?}");
}

#[test]
fn paths_are_relative_to_their_own_file() {
    let mut place = Place::new();
    let text = r#"
clusters: [{name: c, cluster: {server: https://c, certificate-authority: pki/ca.crt}}]
contexts: [{name: x, context: {cluster: c, user: u}}, {name: y, context: {cluster: c, user: v}}]
users:
- name: u
  user: {client-certificate: ../u.crt, client-key: /abs/u.key, tokenFile: "", exec: {command: ./bin/login}}
- name: v
  user: {tokenFile: token, exec: {command: aws}}
"#;
    place.write("deep/er/config", text);
    place.list(&["deep/er/config"]);
    let at = |name: &str| place.path("deep/er").join(name).to_str().unwrap().to_owned();
    let x = place.select(by("x")).unwrap();
    assert_eq!(x.cluster.certificate_authority, at("pki/ca.crt"));
    assert_eq!(x.user.client_certificate, at("../u.crt"));
    assert_eq!(x.user.client_key, "/abs/u.key");
    assert_eq!(x.user.token_file, "", "nothing stays nothing");
    assert_eq!(x.user.exec.unwrap().command, at("./bin/login"));
    let y = place.select(by("y")).unwrap();
    assert_eq!(y.user.token_file, at("token"));
    assert_eq!(y.user.exec.unwrap().command, "aws", "a bare name is looked up in PATH");
}

#[test]
fn the_namespace_is_the_options_then_the_contexts_then_default() {
    let mut place = Place::new();
    place.write("a", one("red", "https://a"));
    place.list(&["a"]);
    assert_eq!(place.chosen().namespace, "of-red");
    let option = Options { namespace: Some("mine"), ..Options::default() };
    assert_eq!(place.select(option).unwrap().namespace, "mine");
    place.write("a", one("red", "https://a").replace("of-red", "\"\""));
    assert_eq!(place.chosen().namespace, "default");
    let empty = Options { namespace: Some(""), context: Some(""), ..Options::default() };
    assert_eq!(place.select(empty).unwrap().namespace, "default");
}

#[test]
fn odd_entries_that_nobody_chose_spoil_nothing() {
    let mut place = Place::new();
    let odd = r#"
users:
- name: old
  user: {auth-provider: {config: null, name: gcp}}
- name: number
  user: {username: me, password: 007, unheard-of: [1, {a: b}]}
- name: nothing
  user: null
contexts:
- {name: half, context: {user: old}}
- {name: nothing}
- {name: good, context: {cluster: good, user: number, extensions: [{name: minikube.sigs.k8s.io, extension: {v: 1}}]}}
clusters:
- {name: good, cluster: {server: "https://good", extensions: null, insecure-skip-tls-verify: null}}
- {name: nothing, cluster: null}
preferences: {}
current-context: good
"#;
    place.write("a", odd);
    place.list(&["a"]);
    let good = place.chosen();
    assert_eq!(good.server, "https://good/");
    assert_eq!((good.user.username.as_str(), good.user.password.reveal()), ("me", "007"));
    let half = place.select(by("half")).unwrap_err();
    assert!(matches!(&half, LoadError::NoSuchCluster { context, .. } if context == "half"), "{half:?}");
}

#[test]
fn a_user_that_is_not_described_is_nobody_as_with_kubectl() {
    let mut place = Place::new();
    place.write("a", one("red", "https://a").replace("user: red", "user: gone"));
    place.list(&["a"]);
    let red = place.chosen();
    assert_eq!(red.user_name.as_deref(), Some("gone"));
    assert!(red.user.token.is_empty());
}

#[test]
fn every_encoding_of_a_shell_is_read() {
    let mut place = Place::new();
    place.list(&["a"]);
    let text = one("red", "https://a");
    let units = |unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
    for bytes in [
        [b"\xEF\xBB\xBF", text.as_bytes()].concat(),
        [b"\xFF\xFE".to_vec(), units(u16::to_le_bytes)].concat(),
        [b"\xFE\xFF".to_vec(), units(u16::to_be_bytes)].concat(),
    ] {
        place.write("a", bytes);
        assert_eq!(place.chosen().context.as_deref(), Some("red"));
    }
    place.write("a", b"\xC3\x28");
    assert!(matches!(place.refused(), LoadError::Parse { .. }));
}

#[test]
fn a_broken_file_is_named_with_the_place_and_without_its_secrets() {
    let mut place = Place::new();
    place.write("a", "users:\n- name: u\n  user: {token: hush-hush\nclusters: [\n");
    place.list(&["a"]);
    let error = place.refused();
    let text = error.to_string();
    assert!(text.contains(place.path("a").to_str().unwrap()) && text.contains("line "), "{text}");
    assert!(!format!("{error:?}{text}").contains("hush"), "{error:?}");
    assert!(!text.contains('\n'), "{text}");
    place.write("a", "users: [{name: u, user: {token: [hush-hush]}}]");
    let error = place.refused();
    assert!(
        matches!(error, LoadError::Parse { .. }) && !format!("{error:?}{error}").contains("hush"),
        "{error:?}"
    );
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let mut place = Place::new();
    place.write("a", one("red", "https://a"));
    place.list(&["a"]);
    assert!(!format!("{:?}", place.chosen()).contains("token-red"));
}

#[test]
fn errors_name_what_is_there() {
    let mut place = Place::new();
    let text = place.refused().to_string();
    assert!(text.contains("home folder is unknown") && text.contains("KUBECONFIG"), "{text}");

    place.set("HOME", place.path("home"));
    let text = place.refused().to_string();
    assert!(text.contains(place.path("home/.kube/config").to_str().unwrap()), "{text}");

    place.list(&["a", "b"]);
    let text = place.refused().to_string();
    assert!(
        text.contains(&format!("{}, {}", place.path("a").display(), place.path("b").display())),
        "{text}"
    );
    assert!(matches!(place.select(by("red")), Err(LoadError::NoKubeconfig { .. })));

    place.write("a", one("red", "https://a").replace("current-context: red", ""));
    place.write("b", one("blue", "https://b").replace("current-context: blue", ""));
    let text = place.refused().to_string();
    assert!(text.contains("no current-context") && text.contains("\"red\", \"blue\""), "{text}");
    let text = place.select(by("green")).unwrap_err().to_string();
    assert!(text.contains("no context \"green\"; it has \"red\", \"blue\""), "{text}");

    for server in ["", "ftp://a", "https://", "https://a b"] {
        place.write("a", one("red", server));
        let error = place.select(by("red")).unwrap_err();
        assert!(
            matches!(&error, LoadError::Server { cluster, .. } if cluster == "red"),
            "{server}: {error:?}"
        );
    }
}

#[test]
fn a_server_without_a_scheme_follows_its_tls_settings() {
    let mut place = Place::new();
    place.list(&["a"]);
    place.write("a", one("red", "api:6443"));
    assert_eq!(place.chosen().server, "http://api:6443/");
    place.write("a", one("red", "api:6443").replace("{server:", "{insecure-skip-tls-verify: true, server:"));
    assert_eq!(place.chosen().server, "https://api:6443/");
}

#[test]
fn a_pod_is_asked_last_and_only_if_nothing_else_chooses() {
    let mut place = Place::new();
    place.set("KUBERNETES_SERVICE_HOST", "fd00::1");
    place.set("KUBERNETES_SERVICE_PORT", "443");
    place.list(&["a"]);
    assert!(matches!(place.refused(), LoadError::NoKubeconfig { .. }), "no service account, no pod");
    place.write("account/token", "t");
    place.write("account/namespace", "shop\n");
    let pod = place.chosen();
    assert_eq!((pod.server.to_string(), pod.namespace.as_str()), ("https://[fd00::1]:443/".into(), "shop"));
    assert_eq!((pod.context, pod.cluster_name, pod.user_name), (None, None, None));
    assert_eq!(pod.user.token_file, place.path("account/token").to_str().unwrap());
    assert_eq!(pod.cluster.certificate_authority, place.path("account/ca.crt").to_str().unwrap());
    let option = Options { namespace: Some("mine"), ..Options::default() };
    assert_eq!(place.select(option).unwrap().namespace, "mine");

    // A file that chooses nothing is as good as none; one that is broken is not.
    place.write("a", one("red", "https://a").replace("current-context: red", ""));
    assert_eq!(place.chosen().context, None);
    assert!(matches!(place.select(by("green")), Err(LoadError::NoSuchContext { .. })));
    place.write("a", "{");
    assert!(matches!(place.refused(), LoadError::Parse { .. }));
    place.write("a", one("red", "https://a"));
    assert_eq!(place.chosen().context.as_deref(), Some("red"));
}

#[test]
fn what_is_no_namespace_never_becomes_a_part_of_a_request() {
    let mut place = Place::new();
    place.write("a", one("red", "https://a"));
    place.list(&["a"]);
    let given = |namespace| place.select(Options { namespace: Some(namespace), ..Options::default() });
    assert_eq!(given("shop-2").unwrap().namespace, "shop-2");
    let long = "x".repeat(64);
    for name in ["../../x", "default?x=1", "a\0b", "Shop", "a.b", "-a", "a-", " ", long.as_str()] {
        let refused = given(name);
        assert!(matches!(refused, Err(LoadError::Namespace { .. })), "{name}: {refused:?}");
    }
}
