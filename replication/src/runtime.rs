//! What openraft runs on: tokio, with tasks as [`bazaar_machine::task`] has them.

#[cfg(not(feature = "simulation"))]
pub(crate) use openraft::impls::TokioRuntime as Runtime;
#[cfg(feature = "simulation")]
pub(crate) use simulated::Runtime;

#[cfg(feature = "simulation")]
mod simulated {
    use std::future::Future;
    use std::time::Duration;

    use openraft::impls::TokioRuntime;
    use openraft::{AsyncRuntime, OptionalSend};

    /// tokio, with tasks that belong to a simulated machine.
    #[derive(Debug)]
    pub(crate) struct Runtime(TokioRuntime);

    /// Everything but `spawn` is tokio's.
    impl AsyncRuntime for Runtime {
        type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
        type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
        type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
        type Instant = <TokioRuntime as AsyncRuntime>::Instant;
        type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
        type Timeout<R, T: Future<Output = R> + OptionalSend> =
            <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
        type ThreadLocalRng = <TokioRuntime as AsyncRuntime>::ThreadLocalRng;
        type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
        type Watch = <TokioRuntime as AsyncRuntime>::Watch;
        type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
        type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

        fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
        where
            T: Future + OptionalSend + 'static,
            T::Output: OptionalSend + 'static,
        {
            bazaar_machine::task::spawn(future)
        }

        fn sleep(duration: Duration) -> Self::Sleep {
            TokioRuntime::sleep(duration)
        }

        fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
            TokioRuntime::sleep_until(deadline)
        }

        fn timeout<R, F: Future<Output = R> + OptionalSend>(
            duration: Duration,
            future: F,
        ) -> Self::Timeout<R, F> {
            TokioRuntime::timeout(duration, future)
        }

        fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
            deadline: Self::Instant,
            future: F,
        ) -> Self::Timeout<R, F> {
            TokioRuntime::timeout_at(deadline, future)
        }

        fn is_panic(join_error: &Self::JoinError) -> bool {
            TokioRuntime::is_panic(join_error)
        }

        fn thread_rng() -> Self::ThreadLocalRng {
            TokioRuntime::thread_rng()
        }

        fn new(threads: usize) -> Self {
            Self(TokioRuntime::new(threads))
        }

        fn block_on<F, T>(&mut self, future: F) -> T
        where
            F: Future<Output = T>,
        {
            self.0.block_on(future)
        }
    }
}
