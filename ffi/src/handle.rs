//! Handles: what C holds in place of our objects.
//!
//! A handle looks like a pointer and leads nowhere: it is a number that is looked up. So a handle that was freed, belongs to
//! another type, or was never one is refused instead of read; numbers are not used again.

use std::any::Any;
use std::collections::HashMap;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use kubetether::{Result, host};

use crate::cancel::Cancel;
use crate::error::{Failure, argument};
use crate::status::{KT_ARGUMENT, KT_OK, kt_status};
use crate::text::Text;

/// All that live. The only state of the process besides the engine's runtime and log.
static LIVE: RwLock<Option<HashMap<usize, Object>>> = RwLock::new(None);
static NEXT: AtomicUsize = AtomicUsize::new(1);

type Object = Arc<dyn Any + Send + Sync>;

/// Where no object of any process lies, on machines of 64 bits: whoever follows a handle is stopped at once.
const BASE: usize = if usize::BITS == 64 { 0x6b74 << (usize::BITS - 16) } else { 0 };

/// A type of handle.
pub(crate) trait Opaque {
    type Object: Any + Send + Sync;
    const NAME: &'static str;
}

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident => $object:ty;)*) => {$(
        $(#[$doc])*
        #[repr(C)]
        pub struct $name {
            _private: [u8; 0],
        }

        impl Opaque for $name {
            type Object = $object;
            const NAME: &'static str = stringify!($name);
        }
    )*};
}

handles! {
    /// An attachment to one cluster and namespace.
    kt_session => host::Session;
    /// An exchange in force: a Service's traffic comes here.
    kt_exchange => host::Exchange;
    /// A forward that is up: a local port that leads into the cluster.
    kt_forward => host::Forward;
    /// A subscription to what happens in a session.
    kt_events => host::Events;
    /// What calls that wait can be ended by.
    kt_cancel => Cancel;
    /// A text that was made for the caller, JSON most of the time.
    kt_text => Text;
    /// What was tried, why it failed, and what to do about it.
    kt_error => Failure;
}

/// A new handle of an object.
pub(crate) fn put<T: Opaque>(object: T::Object) -> *mut T {
    let number = BASE | (NEXT.fetch_add(1, Ordering::Relaxed) << 4);
    let mut live = LIVE.write().unwrap_or_else(PoisonError::into_inner);
    live.get_or_insert_default().insert(number, Arc::new(object));
    ptr::without_provenance_mut(number)
}

/// The object of a handle, which lives on while it is used here.
pub(crate) fn get<T: Opaque>(handle: *const T) -> Result<Arc<T::Object>> {
    find(handle).ok_or_else(|| {
        let what = if handle.is_null() { "is NULL" } else { "is not one, or was freed" };
        argument(format!("the {} {what}", T::NAME))
    })
}

/// The same for functions that have a neutral answer.
pub(crate) fn find<T: Opaque>(handle: *const T) -> Option<Arc<T::Object>> {
    let live = LIVE.read().unwrap_or_else(PoisonError::into_inner);
    let object = live.as_ref()?.get(&handle.addr())?.clone();
    drop(live);
    object.downcast().ok()
}

/// Frees a handle, and its object once nobody uses it any more. NULL is fine, twice is refused.
pub(crate) fn free<T: Opaque>(handle: *mut T) -> kt_status {
    if handle.is_null() {
        return KT_OK;
    }
    let mut live = LIVE.write().unwrap_or_else(PoisonError::into_inner);
    let Some(all) = live.as_mut() else { return KT_ARGUMENT };
    let object = match all.get(&handle.addr()) {
        Some(object) if object.is::<T::Object>() => all.remove(&handle.addr()),
        _ => None,
    };
    // Dropping may take a while, and may come back here.
    drop(live);
    if object.is_some() { KT_OK } else { KT_ARGUMENT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_good_for_its_type_until_it_is_freed_once() {
        let text: *mut kt_text = put(Text::from("hello".to_owned()));
        assert!(find(text.cast_const()).is_some());
        assert!(find(text.cast_const().cast::<kt_session>()).is_none(), "another type");
        assert_eq!(free(text.cast::<kt_error>()), KT_ARGUMENT);
        assert_eq!(free(text), KT_OK);
        assert_eq!(free(text), KT_ARGUMENT, "twice");
        assert!(find(text.cast_const()).is_none());
        assert_eq!(free(ptr::null_mut::<kt_text>()), KT_OK);
        let garbage: *const kt_text = ptr::without_provenance(0xdead_beef);
        assert!(get(garbage).err().unwrap().to_string().contains("kt_text is not one, or was freed"));
    }
}
