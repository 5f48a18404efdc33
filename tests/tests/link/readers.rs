//! Readers that stall.

use kubetether_tests::{Plan, under_traffic};

/// Twenty each way ask for more than any window holds and do not read it: all else goes on, and when they read at
/// last they miss nothing.
#[test]
fn twenty_that_stall_stall_nobody_else() {
    under_traffic("stalled-readers", Plan::full().stalled(20, 16 << 20), async |scene| {
        scene.transferred(1).await;
    });
}
