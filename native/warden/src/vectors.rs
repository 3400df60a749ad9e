//! The vectors that both languages share, and what becomes of damaged ones.

use crate::plan::{Plan, Step};
use crate::protocol::{RequestLine, StateFile};
use serde_json::Value;
use std::collections::BTreeSet;

fn vectors(name: &str) -> Value {
    let path = format!("{}/../vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn every_plan_reads_and_writes_back_the_same() {
    for plan in vectors("plans.json").as_array().unwrap() {
        let parsed: Plan = serde_json::from_value(plan.clone()).unwrap();
        assert_eq!(&serde_json::to_value(&parsed).unwrap(), plan);
    }
}

#[test]
fn every_kind_of_step_is_covered() {
    let plans: Vec<Plan> = serde_json::from_value(vectors("plans.json")).unwrap();
    let seen: BTreeSet<&str> = plans
        .iter()
        .flat_map(|plan| &plan.steps)
        .map(Step::kind)
        .collect();
    // The number of variants, which the compiler counts for us in the message of an unknown one.
    let error = serde_json::from_str::<Step>(r#"{"do":"?"}"#)
        .unwrap_err()
        .to_string();
    let known: BTreeSet<&str> = error.split('`').skip(3).step_by(2).collect();
    assert_eq!(seen, known, "{error}");
}

#[test]
fn every_request_reads_and_writes_back_the_same() {
    for request in vectors("protocol.json")["requests"].as_array().unwrap() {
        let parsed: RequestLine = serde_json::from_value(request.clone()).unwrap();
        assert_eq!(&serde_json::to_value(&parsed).unwrap(), request);
    }
}

#[test]
fn the_state_is_as_the_brain_knows_it() {
    for answer in vectors("protocol.json")["answers"].as_array().unwrap() {
        if answer["ok"].get("warden").is_some() {
            let parsed: StateFile = serde_json::from_value(answer["ok"].clone()).unwrap();
            assert_eq!(serde_json::to_value(&parsed).unwrap(), answer["ok"]);
        }
    }
}

#[test]
fn what_is_not_known_is_refused() {
    for bad in [
        r#"{"version":2,"id":"a","steps":[]}"#,
        r#"{"version":1,"id":"a","steps":[{"do":"run","argv":[]}]}"#,
        r#"{"version":1,"id":"a","steps":[{"do":"directory","at":"../x","mode":0}]}"#,
        r#"{"version":1,"id":"a","steps":[{"do":"file","at":"x","content":"?","mode":0}]}"#,
        r#"{"version":1,"id":"a","steps":[{"do":"bind","from":"x","at":"/x","readonly":true,"noexec":true,"recursive":false}]}"#,
    ] {
        assert!(serde_json::from_str::<Plan>(bad).is_err(), "{bad}");
    }
}

/// Numbers from a seed, the same at every run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[test]
fn damaged_requests_are_refused_and_never_crash() {
    let requests = vectors("protocol.json")["requests"].clone();
    let mut plans = vectors("plans.json").as_array().unwrap().clone();
    let mut texts: Vec<String> = requests
        .as_array()
        .unwrap()
        .iter()
        .map(Value::to_string)
        .collect();
    texts.extend(
        plans
            .drain(..)
            .map(|plan| format!(r#"{{"id":1,"op":"launch","plan":{plan}}}"#)),
    );
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for round in 0..20_000 {
        let mut bytes = texts[round % texts.len()].clone().into_bytes();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] = random.below(256) as u8,
                1 => bytes.truncate(at.max(1)),
                2 => drop(bytes.splice(at..at, *b"99999999999999999999")),
                _ => drop(bytes.remove(at)),
            }
            if bytes.is_empty() {
                bytes.push(b'{');
            }
        }
        if let Ok(line) = serde_json::from_slice::<RequestLine>(&bytes) {
            // What is still understood means the same when it is said again.
            let again: RequestLine = serde_json::from_value(serde_json::to_value(&line).unwrap()).unwrap();
            assert_eq!(again, line);
        }
    }
}
