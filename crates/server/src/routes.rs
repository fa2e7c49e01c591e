//! The routes of the API, as names for metrics. A path itself is none: it has ids in it,
//! and whoever calls could invent as many as he likes.

/// The paths of `docs/openapi.yaml`, which the build script has read. That they are the
/// routes of the component is shown by the tests of its router.
const TEMPLATES: &[&str] = include!(concat!(env!("OUT_DIR"), "/routes.rs"));

/// What a path is called that is none of them.
pub(crate) const UNMATCHED: &str = "unmatched";

/// The template of a path.
pub(crate) fn template(path: &str) -> &'static str {
    TEMPLATES.iter().find(|template| fits(template, path)).copied().unwrap_or(UNMATCHED)
}

fn fits(template: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let all = template.split('/').all(|of_template| {
        segments.next().is_some_and(|segment| {
            segment == of_template || (of_template.starts_with('{') && !segment.is_empty())
        })
    });
    all && segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_the_name_of_its_route_and_never_its_own() {
        for (path, name) in [
            ("/login", "/login"),
            ("/me/sessions", "/me/sessions"),
            ("/me/sessions/0190-a", "/me/sessions/{id}"),
            ("/admin/users/a1B2c3/password", "/admin/users/{id}/password"),
            ("/service-accounts/x/tokens/y", "/service-accounts/{id}/tokens/{token_id}"),
            ("/.well-known/jwks.json", "/.well-known/jwks.json"),
            ("/", UNMATCHED),
            ("*", UNMATCHED),
            ("", UNMATCHED),
            ("/login/", UNMATCHED),
            ("//login", UNMATCHED),
            ("/admin/users/", UNMATCHED),
            ("/admin/users/a1B2c3/nothing", UNMATCHED),
        ] {
            assert_eq!(template(path), name, "{path}");
        }
    }

    #[test]
    fn a_template_is_found_before_those_with_more_parameters() {
        assert!(TEMPLATES.len() > 20, "{TEMPLATES:?}");
        for name in TEMPLATES {
            assert_eq!(template(name), *name);
        }
        let parameters = |template: &&str| template.matches('{').count();
        assert!(TEMPLATES.is_sorted_by_key(parameters), "{TEMPLATES:?}");
    }
}
