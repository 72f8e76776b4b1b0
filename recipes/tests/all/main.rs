//! The recipes of this package, each as the process that an operator sees, and the executors that the main package
//! leaves out.

mod executors;
mod grpc;
mod http3;

use std::time::Duration;

use testkit::example;

/// Enough for anything that should not have to wait.
const SOON: Duration = Duration::from_secs(10);
