//! The packet of XMP that stands in an output, and what is read from anybody's.
//!
//! Sources: XMP Specification, parts 1 and 3 (ISO 16684-1); IPTC Photo Metadata Standard 2025.1, Digital Source Type; TC260-PG-20259A, 6.

use quick_xml::NsReader;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{Namespace, QName, ResolveResult};

use super::{Aigc, Found, LABEL_MAX};
use crate::contract::DigitalSourceType;

const RDF: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#";
const IPTC_EXTENSION: &str = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/";
const TC260: &str = "http://www.tc260.org.cn/ns/AIGC/1.0/";

/// Elements within each other, at most: what is nested deeper is nothing that is looked for, and each level costs time at every name.
const DEPTH_MAX: usize = 64;

/// A packet that says how a file was made and, where its format has no other place for it, who made it.
pub fn packet(source_type: DigitalSourceType, aigc: Option<&Aigc>) -> String {
    let mut properties = format!("<Iptc4xmpExt:DigitalSourceType>{source_type}</Iptc4xmpExt:DigitalSourceType>\n");
    if let Some(aigc) = aigc {
        properties
            .push_str(&format!("   <TC260:AIGC xmlns:TC260=\"{TC260}\">{}</TC260:AIGC>\n", escaped(&aigc.json())));
    }
    // The mark before `id` tells the order of bytes; nobody may write into the packet, since nothing is left free in it.
    format!(
        "<?xpacket begin=\"\u{FEFF}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n\
         <x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n \
         <rdf:RDF xmlns:rdf=\"{RDF}\">\n  \
         <rdf:Description rdf:about=\"\" xmlns:Iptc4xmpExt=\"{IPTC_EXTENSION}\">\n   \
         {properties}  \
         </rdf:Description>\n \
         </rdf:RDF>\n\
         </x:xmpmeta>\n\
         <?xpacket end=\"r\"?>"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// What is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Property {
    SourceType,
    Aigc,
}

impl Property {
    fn of(space: &ResolveResult<'_>, name: &[u8]) -> Option<Self> {
        let ResolveResult::Bound(Namespace(space)) = space else { return None };
        match (*space, name) {
            (space, b"DigitalSourceType") if space == IPTC_EXTENSION.as_bytes() => Some(Self::SourceType),
            (space, b"AIGC") if space == TC260.as_bytes() => Some(Self::Aigc),
            _ => None,
        }
    }

    fn place(self, found: &mut Found) -> &mut Option<String> {
        match self {
            Self::SourceType => &mut found.digital_source_type,
            Self::Aigc => &mut found.aigc,
        }
    }
}

/// What a packet says of the file that it stands in: an element, an attribute or a resource. What is said of other things (an ingredient's own
/// properties lie deeper) is not taken, and of what is said twice the first. Reading ends at what is no XML.
pub fn read(packet: &[u8]) -> Found {
    let mut found = Found::default();
    let Ok(text) = std::str::from_utf8(packet) else { return found };
    let mut reader = NsReader::from_str(text);
    let mut depth: usize = 0;
    // How deep `rdf:RDF` lies, and the property that is being read with its text.
    let mut rdf: Option<usize> = None;
    let mut value: Option<(Property, String)> = None;
    while let Ok(event) = reader.read_event() {
        match event {
            Event::Start(ref element) | Event::Empty(ref element) => {
                let here = depth + 1;
                match rdf {
                    None if is_named(&reader, element.name(), "RDF") => rdf = Some(here),
                    Some(rdf) if here == rdf + 1 => attributes(&reader, element, &mut found),
                    Some(rdf) if here == rdf + 2 => value = property(&reader, element, &mut found),
                    _ => {}
                }
                if matches!(event, Event::Start(_)) {
                    depth = here;
                } else if rdf.is_some_and(|rdf| here <= rdf + 2) {
                    value = None;
                }
                if depth > DEPTH_MAX {
                    return found;
                }
            }
            Event::End(_) => {
                if rdf.is_some_and(|rdf| depth == rdf + 2)
                    && let Some((property, text)) = value.take()
                {
                    keep(property, &text, &mut found);
                }
                if rdf == Some(depth) {
                    rdf = None;
                }
                depth = depth.saturating_sub(1);
            }
            Event::Text(text) => add(&mut value, text.xml10_content().ok().as_deref()),
            Event::CData(text) => add(&mut value, text.decode().ok().as_deref()),
            Event::GeneralRef(reference) => add(&mut value, entity(&reference).as_deref()),
            Event::Eof => return found,
            _ => {}
        }
    }
    found
}

fn is_named(reader: &NsReader<&[u8]>, name: QName<'_>, expected: &str) -> bool {
    let (space, local) = reader.resolver().resolve_element(name);
    local.as_ref() == expected.as_bytes() && space == ResolveResult::Bound(Namespace(RDF.as_bytes()))
}

/// Properties written as attributes of their description.
fn attributes(reader: &NsReader<&[u8]>, element: &BytesStart<'_>, found: &mut Found) {
    for attribute in element.attributes().with_checks(false).flatten() {
        let (space, local) = reader.resolver().resolve_attribute(attribute.key);
        if let Some(property) = Property::of(&space, local.as_ref())
            && let Ok(text) = attribute.normalized_value(XmlVersion::Implicit1_0)
        {
            keep(property, &text, found);
        }
    }
}

/// A property written as an element: a resource is its value at once, else its text is to come.
fn property(reader: &NsReader<&[u8]>, element: &BytesStart<'_>, found: &mut Found) -> Option<(Property, String)> {
    let (space, local) = reader.resolver().resolve_element(element.name());
    let property = Property::of(&space, local.as_ref())?;
    for attribute in element.attributes().with_checks(false).flatten() {
        if is_named(reader, attribute.key, "resource")
            && let Ok(text) = attribute.normalized_value(XmlVersion::Implicit1_0)
        {
            keep(property, &text, found);
        }
    }
    Some((property, String::new()))
}

fn keep(property: Property, text: &str, found: &mut Found) {
    let text = text.trim();
    let place = property.place(found);
    if place.is_none() && !text.is_empty() && text.len() <= LABEL_MAX {
        *place = Some(text.to_owned());
    }
}

fn add(value: &mut Option<(Property, String)>, text: Option<&str>) {
    if let (Some((_, whole)), Some(text)) = (value, text) {
        whole.push_str(text);
    }
}

fn entity(reference: &BytesRef<'_>) -> Option<String> {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => Some(character.to_string()),
        Ok(None) => resolve_predefined_entity(&reference.decode().ok()?).map(str::to_owned),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet_of(content: &str) -> String {
        format!(
            "<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='{RDF}' xmlns:e='{IPTC_EXTENSION}' xmlns:t='{TC260}'>\
             {content}</rdf:RDF></x:xmpmeta>"
        )
    }

    fn found(source_type: Option<&str>, aigc: Option<&str>) -> Found {
        Found { digital_source_type: source_type.map(str::to_owned), aigc: aigc.map(str::to_owned) }
    }

    #[test]
    fn what_is_written_is_read() {
        let code = |text: &str| Some(text.parse().unwrap());
        let aigc = Aigc {
            producer: "A&B<C>".parse().unwrap(),
            produce_id: "&lt;1".parse().unwrap(),
            propagator: code("]]>"),
            propagate_id: code("'"),
        };
        let kind = DigitalSourceType::CompositeSynthetic;
        let (uri, json) = (kind.to_string(), aigc.json());
        for (aigc, expected) in [(Some(&aigc), Some(json.as_str())), (None, None)] {
            let packet = packet(kind, aigc);
            assert_eq!(read(packet.as_bytes()), found(Some(&uri), expected), "{packet}");
            assert!(packet.starts_with("<?xpacket begin=\"\u{FEFF}\"") && packet.ends_with("?>"));
        }
    }

    #[test]
    fn properties_are_read_in_every_form() {
        let check =
            |content: &str, expected: Found| assert_eq!(read(packet_of(content).as_bytes()), expected, "{content}");
        let both = || found(Some("U"), Some("{\"a\":1}"));
        check("<rdf:Description e:DigitalSourceType='U' t:AIGC='{&quot;a&quot;:1}'/>", both());
        check(
            "<rdf:Description><e:DigitalSourceType rdf:resource='U'/><t:AIGC>\n{&quot;a&#34;:1} </t:AIGC></rdf:Description>",
            both(),
        );
        check(
            "<rdf:Description><t:AIGC><![CDATA[{\"a\":1}]]></t:AIGC></rdf:Description><rdf:Description e:DigitalSourceType='U'/>",
            both(),
        );
        check(
            "<rdf:Description e:DigitalSourceType='U'/><rdf:Description e:DigitalSourceType='V'/>",
            found(Some("U"), None),
        );
        check("<rdf:Description><e:DigitalSourceType>U</e:DigitalSourceType>", found(Some("U"), None));
    }

    #[test]
    fn what_is_said_of_other_things_is_not_taken() {
        let check = |content: &str| assert_eq!(read(packet_of(content).as_bytes()), Found::default(), "{content}");
        check(
            "<rdf:Description><e:Ingredient><rdf:Description e:DigitalSourceType='U'/></e:Ingredient></rdf:Description>",
        );
        check("<rdf:Description><x:DigitalSourceType>U</x:DigitalSourceType></rdf:Description>");
        check("<rdf:Description xmlns:e='urn:other' e:DigitalSourceType='U'/>");
        check("<rdf:Description><e:DigitalSourceType/><e:Other>U</e:Other></rdf:Description>");
        check(&format!("<rdf:Description e:DigitalSourceType='{}'/>", "U".repeat(LABEL_MAX + 1)));
    }

    #[test]
    fn broken_packets_end_where_they_break() {
        for packet in [
            "",
            "<",
            "<x:xmpmeta",
            "<a b='",
            "</a></a></a>",
            "&&&&",
            "<!DOCTYPE a [<!ENTITY b '&b;'>]><a>&b;</a>",
            "\0",
        ] {
            assert_eq!(read(packet.as_bytes()), Found::default(), "{packet}");
        }
        assert_eq!(read(b"\xFF\xFE<"), Found::default());
        let deep = format!("<rdf:Description>{}", "<a xmlns:b='c'>".repeat(60_000));
        assert_eq!(read(packet_of(&deep).as_bytes()), Found::default());
        let wide = format!("<rdf:Description {}/>", "a='' ".repeat(150_000));
        assert_eq!(read(packet_of(&wide).as_bytes()), Found::default());
    }
}
