use super::*;

const GOOD: &[(&str, &str)] = &[
    ("KUBETETHER_ROLE", "interceptor"),
    ("KUBETETHER_POD_IPS", "10.0.0.7,fd00::7"),
    ("KUBETETHER_PORTS", "80/TCP=47200>10.96.3.4:80"),
];

fn read(changes: &[(&'static str, &str)]) -> Result<Config, ConfigError> {
    Config::from_env(|name| {
        let find =
            |list: &[(&str, &str)]| list.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        find(changes).or_else(|| find(GOOD))
    })
}

fn ports(text: &str) -> Result<Vec<Port>, String> {
    read(&[("KUBETETHER_PORTS", text)]).map_err(|error| error.to_string()).map(|config| match config.job {
        Job::Interceptor { ports, .. } => ports,
        Job::Gateway { .. } => panic!("not an interceptor"),
    })
}

#[test]
fn defaults_serve_the_common_case() {
    let config = read(&[]).unwrap();
    assert_eq!(config.control, "127.0.0.1:47100".parse().unwrap());
    assert_eq!(config.health, "10.0.0.7:47101".parse().unwrap());
    assert_eq!(config.drain, Duration::from_secs(20));
    // With the goodbye it must fit the 30 s that a pod has by default.
    assert!(config.drain + crate::serve::GOODBYE < Duration::from_secs(30));
    assert_eq!((config.heartbeat, config.silence), (Duration::from_secs(2), Duration::from_secs(5)));
    assert_eq!(config.grace, Duration::from_secs(60));
    let Job::Interceptor { addresses, linger, .. } = config.job else { panic!("not an interceptor") };
    assert_eq!(addresses.len(), 2);
    assert_eq!(linger, Duration::from_secs(3));
}

#[test]
fn a_gateway_needs_no_ports() {
    let config = read(&[("KUBETETHER_ROLE", "gateway"), ("KUBETETHER_PORTS", "")]).unwrap();
    assert_eq!(config.job, Job::Gateway { idle: Duration::from_secs(30) });
}

#[test]
fn lengths_of_time_have_units() {
    for (text, expected) in [("250ms", 250), ("7s", 7000), ("7", 7000), ("0", 0)] {
        assert_eq!(read(&[("KUBETETHER_DRAIN", text)]).unwrap().drain, Duration::from_millis(expected));
    }
    for text in ["1m", "-1", "1.5s", "s", "100000s"] {
        let error = read(&[("KUBETETHER_DRAIN", text)]).unwrap_err();
        assert_eq!(error.variable, "KUBETETHER_DRAIN", "{text}");
    }
}

#[test]
fn errors_name_the_variable() {
    for (variable, value) in [
        ("KUBETETHER_ROLE", ""),
        ("KUBETETHER_ROLE", "spy"),
        ("KUBETETHER_POD_IPS", ""),
        ("KUBETETHER_POD_IPS", "10.0.0.7,here"),
        ("KUBETETHER_PORTS", ""),
        ("KUBETETHER_CONTROL", "localhost"),
        ("KUBETETHER_HEALTH", "1"),
        ("KUBETETHER_NAMESERVER", "10.0.0.1"),
        ("KUBETETHER_LOG", "loud"),
    ] {
        let error = read(&[(variable, value)]).unwrap_err();
        assert_eq!(error.variable, variable, "{value:?}");
        assert!(error.to_string().starts_with(variable));
    }
}

#[test]
fn ports_of_every_kind() {
    let ports = ports("80/TCP=47200>10.96.3.4:8080|[fd00::3]:8080, 53/UDP=47201>kt-dns.shop.svc:53").unwrap();
    assert_eq!(ports.len(), 2);
    assert_eq!((ports[0].number, ports[0].protocol, ports[0].listen), (80, Protocol::Tcp, 47200));
    assert_eq!(
        ports[0].original.targets(),
        [
            Target::Address("10.96.3.4:8080".parse().unwrap()),
            Target::Address("[fd00::3]:8080".parse().unwrap()),
        ]
    );
    assert_eq!(ports[1].original.targets(), [Target::Name { host: "kt-dns.shop.svc".to_owned(), port: 53 }]);
}

#[test]
fn wrong_ports_tell_what_is_wrong() {
    for text in [
        "80",
        "80/TCP",
        "80=1>1.2.3.4:1",
        "80/TCP=1",
        "80/SCTP=1>1.2.3.4:1",
        "0/TCP=1>1.2.3.4:1",
        "80/TCP=70000>1.2.3.4:1",
        "80/TCP=1>1.2.3.4",
        "80/TCP=1>1.2.3.444:1",
        "80/TCP=1>1.2.3.4:0",
        "80/TCP=1>|1.2.3.4:1",
        "80/TCP=1>bad host:1",
        "80/TCP=1>1.2.3.4:1,80/TCP=2>1.2.3.4:1",
        "80/TCP=1>1.2.3.4:1,81/TCP=1>1.2.3.4:1",
        "80/TCP=1>1.2.3.4:1,",
    ] {
        let error = ports(text).unwrap_err();
        assert!(error.starts_with("KUBETETHER_PORTS "), "{text}: {error}");
    }
    // The same number in both protocols is two ports.
    assert_eq!(ports("53/TCP=1>1.2.3.4:53,53/UDP=1>1.2.3.4:53").unwrap().len(), 2);
}
