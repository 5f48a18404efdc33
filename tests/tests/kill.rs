//! Whoever is killed at whatever request: the originals answer within ten seconds, and after the next `kubetether clean` the
//! namespace is as it was. In a quick form each request is met once; `make kill-matrix` meets all of them from both sides.
//!
//! What is in `embedded` is run on the embedded cluster, the rest on a real one, which has rights; `make kill-matrix` runs all on a
//! real one.

use kubetether_tests::{Course, Level, Matrix, Victim, kill_matrix};

fn client(course: Course, level: Level) {
    kill_matrix(Matrix { victim: Victim::Client, course, level });
}

mod embedded {
    use super::*;

    #[test]
    fn a_client_that_forwards() {
        client(Course::Forward, Level::ClusterAdmin);
    }

    #[test]
    fn a_client_that_exchanges() {
        client(Course::Exchange, Level::ClusterAdmin);
    }

    #[test]
    fn the_gateway_of_a_forward() {
        kill_matrix(Matrix { victim: Victim::Agents, course: Course::Forward, level: Level::ClusterAdmin });
    }

    #[test]
    fn the_interceptor_of_an_exchange() {
        kill_matrix(Matrix { victim: Victim::Agents, course: Course::Exchange, level: Level::ClusterAdmin });
    }
}

#[test]
fn a_client_with_all_rights() {
    client(Course::Exchange, Level::ClusterAdmin);
}

#[test]
#[ignore = "make kill-matrix"]
fn a_client_with_the_role_admin() {
    client(Course::Exchange, Level::Admin);
}

#[test]
fn a_client_with_the_role_edit() {
    client(Course::Exchange, Level::Edit);
}

#[test]
#[ignore = "make kill-matrix"]
fn a_client_with_the_least_rights() {
    client(Course::Exchange, Level::Smallest);
}
