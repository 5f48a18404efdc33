use super::*;
use crate::line::{Port, State};
use crate::screen::tests::Sink;

fn told(format: Format, colour: bool, lines: &[Line]) -> (String, String) {
    let (out, err) = (Sink::default(), Sink::default());
    let screen = Arc::new(Screen::over(Box::new(out.clone()), Box::new(err.clone()), false));
    let mut output = Output::with_colour(format, screen, colour);
    for line in lines {
        output.say(line).unwrap();
    }
    (out.text(), err.text())
}

fn handle(state: &'static str, reason: Option<&str>) -> Line {
    Line::Handle {
        handle: 1,
        mode: "exchange",
        target: "svc/orders".into(),
        state: State { state, reason: reason.map(str::to_owned) },
    }
}

fn exchange() -> Line {
    Line::Exchange {
        handle: 1,
        target: "svc/orders".into(),
        namespace: "shop".into(),
        ports: vec![Port { service_port: 80, local: "127.0.0.1:8080".into() }],
        passed_through: vec![443, 9090],
    }
}

#[test]
fn people_find_results_on_standard_output_and_all_else_beside_it() {
    let progress = Line::Progress { handle: Some(1), step: 1, of: 2, what: "asking".into() };
    let (out, err) = told(Format::Text, false, &[progress, exchange(), Line::Restored]);
    assert_eq!(
        out,
        "svc/orders in namespace shop now comes to this machine:\n  \
         port 80 -> 127.0.0.1:8080\n  \
         port 443 -> the original pods\n  \
         port 9090 -> the original pods\n"
    );
    assert_eq!(err, "[1/2] asking\nthe cluster is as it was\n");
}

#[test]
fn programs_find_everything_on_standard_output() {
    let (out, err) = told(Format::Json, true, &[exchange(), handle("active", None), Line::Restored]);
    assert_eq!(out.lines().count(), 3, "{out}");
    for line in out.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).unwrap()["type"].is_string(), "{line}");
    }
    assert_eq!(err, "");
}

#[test]
fn only_the_extraordinary_is_told_and_its_end() {
    let lines = [
        handle("starting", None),
        handle("active", None),
        handle("pass_through", Some("agent gone")),
        handle("active", None),
        handle("active", None),
        handle("lost", Some("Service deleted")),
    ];
    let (_, err) = told(Format::Text, false, &lines);
    assert_eq!(
        err,
        "warning: svc/orders goes to the original pods for now: agent gone\n\
         svc/orders works again\n\
         error: svc/orders is lost: Service deleted\n"
    );
}

#[test]
fn a_start_that_was_given_up_is_no_loss() {
    let lines = [handle("starting", None), handle("lost", Some("cancelled"))];
    assert_eq!(told(Format::Text, false, &lines).1, "");
}

#[test]
fn what_a_failed_start_undoes_is_told_in_one_line() {
    let step = |what: &str| Line::Progress { handle: None, step: 1, of: 2, what: what.into() };
    let failed = Line::Closing { because: Because::Failed };
    let (_, err) = told(Format::Text, false, &[step("reading"), failed, step("ending"), Line::Restored]);
    assert_eq!(err, "[1/2] reading\nthe cluster is as it was\n");
    let asked = Line::Closing { because: Because::Terminate };
    let (_, err) = told(Format::Text, false, &[asked, step("ending"), Line::Restored]);
    assert_eq!(err.lines().count(), 3, "{err}");
}

#[test]
fn an_error_is_told_with_its_hint_and_colour_only_where_wanted() {
    let error = Line::of_error(&"frob/x".parse::<kubetether::Target>().unwrap_err());
    let (_, plain) = told(Format::Text, false, std::slice::from_ref(&error));
    assert!(plain.starts_with("error: target `frob/x`") && plain.contains("\n  try: "), "{plain}");
    let (_, coloured) = told(Format::Text, true, &[error]);
    assert!(coloured.starts_with("\x1b[1;31merror\x1b[0m: "), "{coloured:?}");
}

#[test]
fn a_reader_that_is_gone_is_an_error_and_no_panic() {
    struct Broken;
    impl io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let screen = Arc::new(Screen::over(Box::new(Broken), Box::new(Sink::default()), false));
    let mut output = Output::with_colour(Format::Json, screen, false);
    assert_eq!(output.say(&Line::Restored).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}
