//! What every namespace has from its beginning.

use serde_json::json;

use crate::kinds;
use crate::object::{is_deleting, name};
use crate::store::Inner;

pub(super) fn equip(store: &mut Inner) {
    for namespace in store.list(kinds::of("namespaces"), "") {
        if is_deleting(&namespace) {
            continue;
        }
        let meta = |called: &str| json!({ "name": called, "namespace": name(&namespace) });
        let accounts = kinds::of("serviceaccounts");
        if store.get(accounts, name(&namespace), "default").is_none() {
            // It can only be there already.
            let _ = store.create(accounts, json!({ "metadata": meta("default") }));
        }
    }
}
