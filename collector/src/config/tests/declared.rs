//! What a site may declare, and what its refusals say.

use super::{complaint, read};
use crate::limits;
use crate::site::declared::{Declared, Detail, Step};

fn declared(text: &str) -> Declared {
    read(&format!("[[site]]\nid = \"a\"\n{text}")).unwrap().sites.find("a").unwrap().declared.clone()
}

fn refused(text: &str) -> String {
    let message = complaint(&format!("[[site]]\nid = \"a\"\n{text}"));
    message.split_once("[[site]] number 1: ").expect("a fault of the site").1.to_owned()
}

#[test]
fn goals_funnels_properties_and_pairs_are_what_the_site_says() {
    assert_eq!(declared(""), Declared::default());
    let said = declared(
        "properties = [\"plan\", \"seats\"]\ndetail = \"totals\"\ncubes = [[\"page\", \"browser\"], [\"browser\", \"page\"], [\"country\", \"exit_page\"]]\n\
         [[site.goal]]\nname = \"Signed up\"\nevent = \"signup\"\n[[site.goal]]\nname = \"Paid\"\npage = \"/shop/*/paid\"\nvalue = \"4.50 EUR\"\n\
         [[site.funnel]]\nname = \"Buying\"\nsteps = [{ page = \"/cart\" }, { event = \"purchase\" }]",
    );
    assert_eq!(said.goal_names().collect::<Vec<_>>(), ["Signed up", "Paid"]);
    assert_eq!(said.goals[0].at, Step::Event("signup".into()));
    let worth = said.goals[1].worth.as_ref().unwrap();
    assert_eq!((&said.goals[1].at, &*worth.amount, &*worth.currency), (&Step::Page("/shop/*/paid".into()), "4.50", "EUR"));
    assert_eq!(said.step_names().collect::<Vec<_>>(), ["Buying/1", "Buying/2"]);
    assert_eq!((said.properties.len(), said.detail), (2, Detail::Totals));
    assert_eq!(said.cubes, [("page", "browser"), ("country", "exit_page")]);
}

#[test]
fn a_wrong_declaration_is_told_its_field_and_what_is_allowed() {
    for (text, told) in [
        ("[[site.goal]]\nevent = \"x\"", "goal.name: must be a name of at most 64 bytes"),
        ("[[site.goal]]\nname = \"a/b\"\nevent = \"x\"", "goal.name = \"a/b\": must be a name"),
        ("[[site.goal]]\nname = \" a\"\nevent = \"x\"", "goal.name = \" a\": must be a name"),
        ("[[site.goal]]\nname = \"a\"", "goal: must name either a page or an event"),
        ("[[site.goal]]\nname = \"a\"\npage = \"/\"\nevent = \"x\"", "goal: must name either a page or an event"),
        ("[[site.goal]]\nname = \"a\"\npage = \"/a?b\"", "goal.page = \"/a?b\": must be a path"),
        ("[[site.goal]]\nname = \"a\"\nevent = \"\"", "goal.event = \"\": must be an event's name"),
        (
            "[[site.goal]]\nname = \"a\"\nevent = \"x\"\nvalue = \"4,50 EUR\"",
            "goal.value = \"4,50 EUR\": must be an amount below 1000000000",
        ),
        ("[[site.goal]]\nname = \"a\"\nevent = \"x\"\nvalue = \"4.50 euros\"", "goal.value = \"4.50 euros\": must be an amount"),
        ("[[site.goal]]\nname = \"a\"\nevent = \"x\"\nvalue = \"1000000000 EUR\"", "goal.value = \"1000000000 EUR\": must be an amount"),
        ("[[site.goal]]\nname = \"a\"\nevent = \"x\"\n[[site.goal]]\nname = \"a\"\nevent = \"y\"", "goal = \"a\": must not stand twice"),
        (
            "[[site.funnel]]\nname = \"a\"\nsteps = [{ page = \"/\" }]",
            "funnel.steps = 1 steps: must be 2 to 10 pages or events in their order",
        ),
        ("[[site.funnel]]\nname = \"a\"\nsteps = [{ page = \"/\" }, {}]", "funnel.steps: must name either a page or an event"),
        ("properties = [\"a=b\"]", "properties = \"a=b\": must be a property's key, of at most 64 bytes and without ="),
        ("properties = [\"a\", \"a\"]", "properties = \"a\": must not stand twice"),
        ("detail = \"none\"", "detail = \"none\": must be \"pairs\" or \"totals\""),
        ("cubes = [[\"page\"]]", "cubes = [\"page\"]: must be pairs such as [\"page\", \"browser\"]"),
        ("cubes = [[\"page\", \"hour\"]]", "cubes = \"hour\": must be one of page, source, channel,"),
        ("cubes = [[\"page\", \"page\"]]", "cubes = [\"page\", \"page\"]: must be of two different cuts"),
        (
            "consent = { ceiling = \"anonymous\" }\n[[site.funnel]]\nname = \"a\"\nsteps = [{ page = \"/\" }, { page = \"/b\" }]",
            "funnel: has no meaning with consent.ceiling = \"anonymous\": without ids there are no visits to follow",
        ),
    ] {
        let message = refused(text);
        assert!(message.starts_with(told), "{text}: {message}");
    }
}

#[test]
fn every_list_of_declarations_has_a_bound() {
    let goals = |count: usize| (0..count).map(|n| format!("[[site.goal]]\nname = \"{n}\"\nevent = \"x\"")).collect::<Vec<_>>().join("\n");
    let funnels = |count: usize| {
        let one = |n| format!("[[site.funnel]]\nname = \"{n}\"\nsteps = [{{ page = \"/\" }}, {{ event = \"x\" }}]");
        (0..count).map(one).collect::<Vec<_>>().join("\n")
    };
    let steps = |count: usize| format!("[[site.funnel]]\nname = \"a\"\nsteps = [{}]", "{ page = \"/\" }, ".repeat(count));
    let properties = |count: usize| format!("properties = {:?}", (0..count).map(|n| n.to_string()).collect::<Vec<_>>());
    let cubes = |count: usize| format!("cubes = [{}]", "[\"page\", \"os\"], ".repeat(count));
    assert_eq!(declared(&goals(limits::SITE_GOALS)).goals.len(), limits::SITE_GOALS);
    assert_eq!(declared(&funnels(limits::SITE_FUNNELS)).funnels.len(), limits::SITE_FUNNELS);
    assert_eq!(declared(&steps(limits::FUNNEL_STEPS.1)).funnels[0].steps.len(), limits::FUNNEL_STEPS.1);
    assert_eq!(declared(&properties(limits::SITE_PROPERTIES)).properties.len(), limits::SITE_PROPERTIES);
    assert_eq!(declared(&cubes(limits::SITE_CUBES)).cubes.len(), 1);
    for (text, told) in [
        (goals(limits::SITE_GOALS + 1), "goal = 51 entries: must be at most 50 entries"),
        (funnels(limits::SITE_FUNNELS + 1), "funnel = 21 entries: must be at most 20 entries"),
        (steps(limits::FUNNEL_STEPS.1 + 1), "funnel.steps = 11 steps: must be 2 to 10"),
        (properties(limits::SITE_PROPERTIES + 1), "properties = 21 entries: must be at most 20 entries"),
        (cubes(limits::SITE_CUBES + 1), "cubes = 21 entries: must be at most 20 pairs"),
        (format!("[[site.goal]]\nname = \"{}\"\nevent = \"x\"", "a".repeat(limits::DECLARED_NAME_BYTES + 1)), "goal.name = "),
    ] {
        let message = refused(&text);
        assert!(message.starts_with(told), "{message}");
    }
}
