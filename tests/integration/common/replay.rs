//! The recorded tenants over real HTTP.

use std::collections::BTreeMap;
use std::path::Path;

use authdrift::model::Provider;
use authdrift::simulator::auth0::{self, Auth0};
use authdrift::simulator::clerk::Clerk;
use authdrift::simulator::fault::Fault;
use authdrift::simulator::vendor::Vendor;

use super::Sandbox;
use crate::support::fixtures::{self, Answer};

/// The domain of the recorded Auth0 tenant.
pub const TENANT: &str = "auth0-deploy-cli-e2e.us.auth0.com";

impl Sandbox {
    /// Both recorded tenants, in the place of those that the simulators bring: lists in pages of four.
    pub async fn recorded(folder: &Path) -> Self {
        let (clerk, auth0) = (Clerk::empty().await.unwrap(), Auth0::empty().await.unwrap());
        serve(&clerk, &fixtures::answers(folder, Provider::Clerk), fixtures::PRODUCTION);
        serve(&auth0, &fixtures::answers(folder, Provider::Auth0), "tenant");
        auth0.set_max_page_size(4);
        let sandbox = Self::with(clerk, auth0).await;
        let known = fixtures::read(&folder.join("clerk/identifiers.json"));
        let known = |name: &str| known[name].as_str().unwrap().to_owned();
        let clerk = format!(
            "[[clerk]]\nname = \"prod\"\npublishable_key = \"{}\"\nsecret_key = {{ file = \"clerk-secret-key\" }}\n\
             platform_token = {{ file = \"clerk-platform-token\" }}\napplication_id = \"{}\"\n\
             backend_api_url = \"{url}\"\nplatform_api_url = \"{url}\"\nfrontend_api_url = \"{url}\"\n",
            known("publishable_key"),
            known("application_id"),
            url = sandbox.clerk.url()
        );
        let auth0 = sandbox.auth0_table().replace(auth0::DOMAIN, TENANT);
        sandbox.write("config.toml", &format!("{}{clerk}{auth0}{}", sandbox.head(), sandbox.receiver_tables()));
        sandbox
    }
}

/// Serves what was recorded, refusals included. Of several answers at one path the one that lists most counts: the
/// simulators know the filters.
fn serve(vendor: &Vendor, answers: &[Answer], set: &str) {
    let mut best: BTreeMap<&str, &Answer> = BTreeMap::new();
    for answer in answers.iter().filter(|answer| answer.set == set && answer.method == "GET") {
        let is_better = |known: &&Answer| answer.filters().count() <= known.filters().count();
        if best.get(answer.path.as_str()).is_none_or(is_better) {
            best.insert(&answer.path, answer);
        }
    }
    for (path, answer) in best {
        if answer.status != 200 {
            vendor.fail(path, Fault::status(answer.status, answer.body.clone()));
            continue;
        }
        // Where the simulator makes pages, it wants the bare list.
        let items = auth0::envelope_of(path).filter(|_| answer.provider == Provider::Auth0);
        let bare = items.and_then(|items| answer.body.get(items)).filter(|items| items.is_array());
        vendor.set(path, bare.unwrap_or(&answer.body).clone());
    }
}
