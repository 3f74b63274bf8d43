//! JSON bodies read strictly: nothing unknown, doubled, mistyped or too deep gets through, and each refusal says where.
//!
//! serde alone is too kind for this: it takes an array for a struct, lets a doubled member of a map win silently and
//! reports a missing member at its parent. So the text first becomes a tree whose objects are proved free of doubles,
//! and the tree is then read into the handler's type by a deserializer that keeps the pointer (RFC 6901).

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, StringDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};

use crate::problem::Problem;

/// Reads a body into `T`, at most `nesting` arrays and objects deep.
///
/// # Errors
/// `/problems/unreadable`: with line and column where the text is not JSON or too deep, else with a pointer.
pub fn read<T: DeserializeOwned>(body: &[u8], nesting: usize) -> Result<T, Problem> {
    let tree = parse(body, nesting)?;
    T::deserialize(tree).map_err(Refusal::into_problem)
}

/// A JSON text without doubled members.
#[derive(Clone, Debug)]
enum Tree {
    Null,
    Truth(bool),
    Whole(u64),
    Negative(i64),
    Broken(f64),
    Text(String),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

fn parse(body: &[u8], nesting: usize) -> Result<Tree, Problem> {
    if body.is_empty() {
        return Err(Problem::unreadable("Send a JSON body: there is none."));
    }
    let place = RefCell::new(Place::default());
    let mut reader = serde_json::Deserializer::from_slice(body);
    let grown = Grow { place: &place, left: nesting }.deserialize(&mut reader);
    let tree = grown.and_then(|tree| reader.end().map(|()| tree));
    tree.map_err(|error| match place.into_inner().fault {
        Some(Fault::Doubled(pointer)) => {
            Problem::unreadable_at(pointer, "Send this member once: it stands here twice.")
        }
        Some(Fault::TooDeep) => Problem::not_json(error.line(), error.column(), "Nest arrays and objects less deeply."),
        None => {
            Problem::not_json(error.line(), error.column(), "Send JSON: what stands at this line and column is none.")
        }
    })
}

#[derive(Default)]
struct Place {
    steps: Vec<String>,
    fault: Option<Fault>,
}

enum Fault {
    Doubled(String),
    TooDeep,
}

#[derive(Clone, Copy)]
struct Grow<'a> {
    place: &'a RefCell<Place>,
    left: usize,
}

impl Grow<'_> {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Self { left, ..self }),
            None => {
                self.place.borrow_mut().fault = Some(Fault::TooDeep);
                Err(E::custom("nested too deeply"))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Grow<'_> {
    type Value = Tree;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Tree, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Grow<'_> {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Truth(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Whole(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Negative(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Broken(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Tree, E> {
        Ok(Tree::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        loop {
            self.place.borrow_mut().steps.push(list.len().to_string());
            let item = items.next_element_seed(inner)?;
            self.place.borrow_mut().steps.pop();
            match item {
                Some(item) => list.push(item),
                None => return Ok(Tree::List(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
        let inner = self.deeper()?;
        let mut seen = HashSet::new();
        let mut object = Vec::new();
        while let Some(name) = members.next_key::<String>()? {
            self.place.borrow_mut().steps.push(name.clone());
            if !seen.insert(name.clone()) {
                let place = &mut *self.place.borrow_mut();
                place.fault = Some(Fault::Doubled(pointer(place.steps.iter())));
                return Err(de::Error::custom("doubled member"));
            }
            let value = members.next_value_seed(inner)?;
            self.place.borrow_mut().steps.pop();
            object.push((name, value));
        }
        Ok(Tree::Object(object))
    }
}

fn pointer<'a>(steps: impl Iterator<Item = &'a String>) -> String {
    steps.map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect()
}

/// Why a tree is not what the handler's type asks for, and where, innermost step first.
#[derive(Debug)]
struct Refusal {
    steps: Vec<String>,
    why: String,
}

impl Refusal {
    fn new(why: impl Into<String>) -> Self {
        Self { steps: Vec::new(), why: why.into() }
    }

    fn under(mut self, step: String) -> Self {
        self.steps.push(step);
        self
    }

    fn into_problem(self) -> Problem {
        Problem::unreadable_at(pointer(self.steps.iter().rev()), self.why)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Refusal {}

impl de::Error for Refusal {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self::new(why.to_string())
    }

    // The value itself is never repeated: it may be a password in the wrong place.
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("Send {} here, not {}.", wanted(expected), name_of(&found)))
    }

    fn invalid_value(_found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("Send {} here.", wanted(expected)))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("Send {} here, not {length} items.", wanted(expected)))
    }

    fn unknown_variant(_variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("Send one of these here: {}.", expected.join(", ")))
    }

    fn unknown_field(_field: &str, _expected: &'static [&'static str]) -> Self {
        Self::new("Leave this member out: it is not known here.")
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new("Send this member too: it is missing.").under(field.to_owned())
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new("Send this member once: it stands here twice.").under(field.to_owned())
    }
}

fn wanted(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    if text.starts_with("struct ") || text == "a map" { "an object".to_owned() } else { text }
}

fn name_of(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
        Unexpected::Str(_) | Unexpected::Char(_) => "a string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "an array",
        Unexpected::Map => "an object",
        _ => "something else",
    }
}

impl Tree {
    fn unexpected(&self) -> Unexpected<'_> {
        match self {
            Self::Null => Unexpected::Unit,
            Self::Truth(value) => Unexpected::Bool(*value),
            Self::Whole(value) => Unexpected::Unsigned(*value),
            Self::Negative(value) => Unexpected::Signed(*value),
            Self::Broken(value) => Unexpected::Float(*value),
            Self::Text(value) => Unexpected::Str(value),
            Self::List(_) => Unexpected::Seq,
            Self::Object(_) => Unexpected::Map,
        }
    }
}

impl<'de> Deserializer<'de> for Tree {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Truth(value) => visitor.visit_bool(value),
            Self::Whole(value) => visitor.visit_u64(value),
            Self::Negative(value) => visitor.visit_i64(value),
            Self::Broken(value) => visitor.visit_f64(value),
            Self::Text(value) => visitor.visit_string(value),
            Self::List(items) => visitor.visit_seq(Items { items: items.into_iter(), index: 0 }),
            Self::Object(members) => visitor.visit_map(Members::of(members)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self {
            Self::Object(members) => visitor.visit_map(Members::of(members)),
            other => Err(de::Error::invalid_type(other.unexpected(), &visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.deserialize_map(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self {
            Self::Null => visitor.visit_none(),
            some => visitor.visit_some(some),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match self {
            Self::Text(variant) => named(variant).deserialize_enum(name, variants, visitor),
            Self::Object(members) if members.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(Members::of(members)))
            }
            other => Err(de::Error::invalid_type(other.unexpected(), &visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct identifier
    }
}

impl<'de> IntoDeserializer<'de, Refusal> for Tree {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

fn named(text: String) -> StringDeserializer<Refusal> {
    text.into_deserializer()
}

struct Items {
    items: std::vec::IntoIter<Tree>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items {
    type Error = Refusal;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refusal> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(item).map(Some).map_err(|refusal| refusal.under(index.to_string()))
    }
}

struct Members {
    members: std::vec::IntoIter<(String, Tree)>,
    value: Option<(String, Tree)>,
}

impl Members {
    fn of(members: Vec<(String, Tree)>) -> Self {
        Self { members: members.into_iter(), value: None }
    }
}

impl<'de> MapAccess<'de> for Members {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refusal> {
        let Some((name, value)) = self.members.next() else { return Ok(None) };
        self.value = Some((name.clone(), value));
        seed.deserialize(named(name.clone())).map(Some).map_err(|refusal| refusal.under(name))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refusal> {
        let (name, value) = self.value.take().ok_or_else(|| Refusal::new("A member has no value"))?;
        seed.deserialize(value).map_err(|refusal| refusal.under(name))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::collections::HashMap;

    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Person {
        name: String,
        age: Option<u8>,
        #[serde(default)]
        friends: Vec<Person>,
        #[serde(default)]
        mood: Option<Mood>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mood {
        Glad,
        Other(String),
    }

    fn refused<T: DeserializeOwned + fmt::Debug>(body: impl AsRef<[u8]>) -> Value {
        let reply = read::<T>(body.as_ref(), 64).unwrap_err().to_reply("r");
        assert_eq!(reply.status, 400);
        serde_json::from_slice(&reply.body).unwrap()
    }

    #[test]
    fn what_is_right_is_read() {
        let body = r#"{"name":"Ada \u0000 \ud83d\ude00","age":null,"friends":[{"name":"B","age":3,"mood":"glad"}],"mood":{"other":"calm"}}"#;
        let person: Person = read(body.as_bytes(), 64).unwrap();
        assert_eq!(person.name, "Ada \0 😀");
        assert_eq!(person.friends.first().unwrap().mood, Some(Mood::Glad));
        assert_eq!(person.mood, Some(Mood::Other("calm".to_owned())));
    }

    #[test]
    fn each_refusal_points_at_its_member() {
        for (body, pointer) in [
            (r#"{"age":3}"#, "/name"),
            (r#"{"name":3}"#, "/name"),
            (r#"{"name":null}"#, "/name"),
            (r#"{"name":"a","nick":"b"}"#, "/nick"),
            (r#"{"name":"a","a/b~c":1}"#, "/a~1b~0c"),
            (r#"{"name":"a","name":"a"}"#, "/name"),
            (r#"{"name":"a","friends":[{"name":"b"},{"name":"c","name":"d"}]}"#, "/friends/1/name"),
            (r#"{"name":"a","friends":[{"name":"b","x":1}]}"#, "/friends/0/x"),
            (r#"{"name":"a","friends":[{"name":"b"},{"age":1}]}"#, "/friends/1/name"),
            (r#"{"name":"a","friends":{"name":"b"}}"#, "/friends"),
            (r#"{"name":"a","friends":[["b"]]}"#, "/friends/0"),
            (r#"{"name":"a","age":300}"#, "/age"),
            (r#"{"name":"a","age":-1}"#, "/age"),
            (r#"{"name":"a","age":1.5}"#, "/age"),
            (r#"{"name":"a","mood":"sad"}"#, "/mood"),
            (r#"["a"]"#, ""),
            ("null", ""),
            (r#""a""#, ""),
        ] {
            assert_eq!(refused::<Person>(body).get("pointer"), Some(&json!(pointer)), "{body}");
        }
    }

    #[test]
    fn a_member_is_found_doubled_even_where_nobody_reads_it() {
        assert_eq!(refused::<HashMap<String, u8>>(r#"{"a":1,"a":1}"#).get("pointer"), Some(&json!("/a")));
        assert_eq!(refused::<Value>(r#"{"a":[0,{"b":1,"\u0062":2}]}"#).get("pointer"), Some(&json!("/a/1/b")));
    }

    #[test]
    fn broken_text_is_located() {
        for (body, line, column) in [("{\n \"name\": }", 2, 10), ("{", 1, 1), ("{} {}", 1, 4), ("\u{feff}{}", 1, 1)] {
            let problem = refused::<Value>(body);
            assert_eq!((&problem["line"], &problem["column"]), (&json!(line), &json!(column)), "{body}");
        }
        for body in
            [&b"{\"name\":\"\xff\"}"[..], b"\"\\ud800\"", b"\"\\udc00\\ud800\"", b"1e999", b"\0", b"nul", b"\"\x01\""]
        {
            assert!(refused::<Value>(body).get("line").is_some(), "{body:?}");
        }
        assert_eq!(refused::<Value>("").get("detail"), Some(&json!("Send a JSON body: there is none.")));
    }

    #[test]
    fn sixty_four_levels_are_read_and_no_more() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(read::<Value>(nested(64).as_bytes(), 64).is_ok());
        for depth in [65, 127, 129, 30_000] {
            let problem = refused::<Value>(nested(depth));
            assert_eq!(problem.get("detail"), Some(&json!("Nest arrays and objects less deeply.")), "{depth}");
            assert_eq!(problem.get("line"), Some(&json!(1)), "{depth}");
        }
        assert!(refused::<Value>("{\"a\":".repeat(20_000)).get("line").is_some());
    }

    #[test]
    fn a_refused_value_is_not_repeated() {
        let problem = refused::<Person>(r#"{"name":"a","age":"correct horse"}"#).to_string();
        assert!(!problem.contains("horse"), "{problem}");
    }
}
