use std::path::Path;
use std::time::Duration;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};

use super::*;

fn config(json: &str) -> Result<Config> {
    read::<SessionOptions>(json)?.try_into()
}

#[test]
fn nothing_at_all_is_the_default() {
    for json in ["", "{}", " \n"] {
        assert_eq!(format!("{:?}", config(json).unwrap()), format!("{:?}", Config::new()));
    }
}

#[test]
fn every_key_of_a_session_arrives() {
    let json = r#"{"kubeconfig": "/k", "context": "c", "namespace": "n", "agent": "/a", "who": "me",
        "start_deadline": 1.5, "carriers": 3, "most_carriers": 5, "heartbeat": 1, "heartbeat_limit": 4, "grace": 7,
        "linger": 0, "drain": 0.25, "agent_memory": 67108864, "memory": 16777216}"#;
    let expected = Config::new()
        .kubeconfig("/k")
        .context("c")
        .namespace("n")
        .agent(AgentSource::File("/a".into()))
        .who("me")
        .start_deadline(Duration::from_millis(1500))
        .carriers(3)
        .most_carriers(5)
        .heartbeat(Duration::from_secs(1), Duration::from_secs(4))
        .grace(Duration::from_secs(7))
        .linger(Duration::ZERO)
        .drain(Duration::from_millis(250))
        .agent_memory(64 << 20)
        .memory(16 << 20);
    assert_eq!(format!("{:?}", config(json).unwrap()), format!("{expected:?}"));
    // A key that is added to the options has to be added above, too.
    let known = serde_json::to_value(SessionOptions::default()).unwrap().as_object().unwrap().len();
    assert_eq!(json.matches("\": ").count(), known - 1, "all but agent_image, which excludes agent");
    let image = config(r#"{"agent_image": "a:1"}"#).unwrap();
    assert_eq!(image.agent, AgentSource::Image("a:1".into()));
}

#[test]
fn what_is_wrong_is_named() {
    for (json, part) in [
        ("nonsense", "line 1 column 2"),
        ("[]", "SessionOptions"),
        (r#"{"namespac": "n"}"#, "unknown field `namespac`, expected one of `kubeconfig`"),
        (r#"{"carriers": "2"}"#, "`carriers`: invalid type: string \"2\""),
        (r#"{"grace": -1}"#, "`grace`: a duration is a number of seconds, 0 or more"),
        // As Python writes it.
        (r#"{"grace": NaN}"#, "`grace`: expected value"),
        (r#"{"who": "me"} {}"#, "trailing characters"),
        (r#"{"agent": "/a", "agent_image": "a"}"#, "two agents"),
    ] {
        let error = config(json).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Config, "{json}");
        assert!(error.report().contains(part), "{json}: {}", error.report());
    }
}

#[test]
fn a_duration_beyond_all_bounds_is_a_year() {
    let config = config(r#"{"grace": 1e300}"#).unwrap();
    assert_eq!(config.grace, crate::deadline::YEAR);
}

#[test]
fn every_form_of_to() {
    let to = |json: &str| {
        let call: ExchangeCall = read(&format!(r#"{{"target": "orders", "to": {json}}}"#))?;
        let (_, to, _): (Target, To, ExchangeOptions) = call.try_into()?;
        Ok::<_, Error>(to)
    };
    assert_eq!(to("8080").unwrap(), To::port(8080));
    assert_eq!(to(r#""8080""#).unwrap(), To::port(8080));
    assert_eq!(to(r#""10.0.0.7:9000""#).unwrap(), To::address("10.0.0.7", 9000));
    assert_eq!(to(r#""/run/app.sock""#).unwrap(), To::unix("/run/app.sock"));
    let two = To::port(8080).for_service_port("http").and(To::unix("/run/g").for_service_port(9));
    assert_eq!(to(r#"["8080:http", "/run/g:9"]"#).unwrap(), two);
    for bad in ["0", "70000", "[]", "{}", "null", r#""nowhere""#, "true"] {
        let error = to(bad).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Config, "{bad}");
    }
    assert!(to("{}").unwrap_err().to_string().contains("`to` is a port, \"host:port\""));
}

#[test]
fn calls_become_the_engines_settings() {
    let json = r#"{"destination": "db:5432", "bind": "::1", "port": 7, "connections": 9, "deadline": 3}"#;
    let (_, forward): (Destination, ForwardOptions) = read::<ForwardCall>(json).unwrap().try_into().unwrap();
    let expected = ForwardOptions::new()
        .bind("::1".parse().unwrap())
        .port(7)
        .connections(9)
        .deadline(Duration::from_secs(3));
    assert_eq!(format!("{forward:?}"), format!("{expected:?}"));

    let json = r#"{"target": "svc/orders", "to": 1, "deadline": 3, "wait": 4}"#;
    let (target, _, exchange): (Target, To, ExchangeOptions) =
        read::<ExchangeCall>(json).unwrap().try_into().unwrap();
    let expected = ExchangeOptions::new().deadline(Duration::from_secs(3)).wait(Duration::from_secs(4));
    assert_eq!((target.to_string(), format!("{exchange:?}")), ("svc/orders".into(), format!("{expected:?}")));

    let clean: CleanOptions =
        read::<CleanCall>(r#"{"dry_run": true, "all": true, "deadline": 5}"#).unwrap().into();
    let expected = CleanOptions::new().dry_run(true).all(true).deadline(Duration::from_secs(5));
    assert_eq!(format!("{clean:?}"), format!("{expected:?}"));

    let status: StatusOptions =
        read::<StatusCall>(r#"{"all_namespaces": true, "patience": 1}"#).unwrap().into();
    let expected = StatusOptions::new().all_namespaces(true).patience(Duration::from_secs(1));
    assert_eq!(format!("{status:?}"), format!("{expected:?}"));

    let (_, recover): (Target, RecoverOptions) =
        read::<RecoverCall>(r#"{"service": "orders", "deadline": 2}"#).unwrap().try_into().unwrap();
    let expected = RecoverOptions::new().deadline(Duration::from_secs(2));
    assert_eq!(format!("{recover:?}"), format!("{expected:?}"));
    assert_eq!(read::<RecoverCall>("{}").unwrap_err().code(), ErrorCode::Config, "the service is required");
}

/// All types of the schema below `$defs`.
fn schema() -> String {
    let options = SchemaSettings::draft2020_12().for_deserialize();
    let mut into = SchemaGenerator::new(options);
    fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
        generator.subschema_for::<T>();
    }
    add::<SessionOptions>(&mut into);
    add::<ExchangeCall>(&mut into);
    add::<ForwardCall>(&mut into);
    add::<CloseCall>(&mut into);
    add::<StatusCall>(&mut into);
    add::<CleanCall>(&mut into);
    add::<RecoverCall>(&mut into);
    let mut out = SchemaGenerator::new(SchemaSettings::draft2020_12().for_serialize());
    crate::json::schemas(&mut out);
    let mut defs = into.take_definitions(true);
    defs.extend(out.take_definitions(true));
    let codes: serde_json::Map<String, serde_json::Value> =
        ErrorCode::ALL.iter().map(|code| (code.as_str().to_owned(), code.number().into())).collect();
    let schema = serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kubetether",
        "description": "What goes into the calls of kubetether, and what comes out, in all languages.",
        "x-error-codes": codes,
        "$defs": defs,
    });
    serde_json::to_string_pretty(&schema).unwrap() + "\n"
}

/// `KUBETETHER_WRITE=1 cargo test` writes it anew.
#[test]
fn the_published_schema_is_that_of_the_types() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/kubetether.schema.json");
    let now = schema();
    if std::env::var_os("KUBETETHER_WRITE").is_some() {
        std::fs::write(&file, &now).unwrap();
    }
    let published = std::fs::read_to_string(&file).unwrap();
    assert!(published == now, "KUBETETHER_WRITE=1 cargo test -p kubetether --lib schema");
}
