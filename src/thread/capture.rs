//! Catching a panic, and the hook that keeps its first scene.
//!
//! The scene is taken in the panic hook, at the panic: when `catch_unwind`
//! returns, the stack is gone and the context guards have been dropped.

use std::any::{Any, TypeId};
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;
use std::thread;

use super::context;
use super::panic::{Panic, Scene};

/// A payload may reach us that isn't the last one thrown (an inner one was
/// caught while the outer unwound); so many of the latest are kept to look among.
const SCENES_KEPT: usize = 4;

thread_local! {
    /// How many of our `catch`es are on this thread's stack.
    static CATCHES: Cell<usize> = const { Cell::new(0) };
    static SCENES: RefCell<Vec<Thrown>> = const { RefCell::new(Vec::new()) };
}

/// What was thrown, told by its payload, and its scene.
struct Thrown {
    payload_type: TypeId,
    scene: Scene,
}

/// Runs `body`; a panic in it comes back as a [`Panic`] with its evidence.
///
/// What a loop over connections or jobs uses: one bad request harms only
/// itself. Nothing is printed or logged here; whoever looks at the [`Panic`]
/// calls [`Panic::log`] or passes it on. What `body` shares with the outside
/// may be left half-changed, as by any early return.
///
/// The first call installs a panic hook for the process. It keeps the evidence
/// of panics inside a `catch` or a [`spawn`](super::spawn)ed thread, silently,
/// and calls the hook that was there before for every other. A hook set later
/// by somebody else takes its place: panics are still caught then, with their
/// message, but without place, backtrace and context.
///
/// # Errors
/// The [`Panic`]. Thrown by `resume_unwind` rather than by a panic on this
/// thread, it has only its message and this thread's name.
pub fn catch<T>(body: impl FnOnce() -> T) -> Result<T, Panic> {
    install_hook();
    let watch = Watch::begin();
    let result = panic::catch_unwind(AssertUnwindSafe(body));
    let thrown = watch.end();
    result.map_err(|payload| Panic::new(scene_of(payload.as_ref(), thrown)))
}

/// The scenes of one `catch`, apart from those of the catches around it.
struct Watch {
    outer: Vec<Thrown>,
}

impl Watch {
    fn begin() -> Watch {
        CATCHES.set(CATCHES.get() + 1);
        Watch { outer: SCENES.try_with(RefCell::take).unwrap_or_default() }
    }

    fn end(self) -> Vec<Thrown> {
        CATCHES.set(CATCHES.get() - 1);
        SCENES.try_with(|scenes| scenes.replace(self.outer)).unwrap_or_default()
    }
}

/// The latest scene whose payload looks like the one that was caught.
fn scene_of(payload: &(dyn Any + Send), thrown: Vec<Thrown>) -> Scene {
    let message = message_of(payload);
    let payload_type = payload.type_id();
    thrown
        .into_iter()
        .rev()
        .find(|thrown| thrown.payload_type == payload_type && thrown.scene.message == message)
        .map_or_else(|| Scene::bare(thread_name(), message), |thrown| thrown.scene)
}

fn install_hook() {
    static INSTALLED: Once = Once::new();
    // Changing the hook while panicking would abort; a later catch does it.
    if thread::panicking() {
        return;
    }
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| if CATCHES.get() == 0 { before(info) } else { keep_scene(info) }));
    });
}

/// Runs inside a panic: nothing here may panic, or the process aborts.
fn keep_scene(info: &PanicHookInfo<'_>) {
    let scene = Scene {
        thread: thread_name(),
        message: message_of(info.payload()),
        location: info.location().map(ToString::to_string),
        backtrace: Backtrace::force_capture(),
        context: context::snapshot(),
    };
    let thrown = Thrown { payload_type: info.payload().type_id(), scene };
    let _ = SCENES.try_with(|scenes| {
        let Ok(mut scenes) = scenes.try_borrow_mut() else { return };
        if scenes.len() == SCENES_KEPT {
            scenes.remove(0);
        }
        scenes.push(thrown);
    });
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic whose payload is no text".to_owned()
    }
}

fn thread_name() -> String {
    thread::current().name().unwrap_or("unnamed").to_owned()
}
