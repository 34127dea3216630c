//! What a recipient texts back: STOP and START. Who sent it was checked before.

use std::sync::Arc;

use icu_normalizer::DecomposingNormalizer;

use super::context::{Caller, Context};
use crate::audit::{Details, Event};
use crate::error::Result;
use crate::phone::Phone;
use crate::store::{Decision, Needs, Subject};
use crate::usage::TEXTS_MAX;

/// What a recipient texted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// No more messages.
    Stop,
    /// Messages again.
    Start,
    /// What is this?
    Help,
    /// Something else.
    Other,
}

/// What became of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InboundAnswer {
    /// The recipient gets no more messages from now on.
    OptedOut,
    /// The recipient gets messages again from now on.
    OptedIn,
    /// Nothing changed.
    Unchanged,
}

/// Words that end messages by themselves: CTIA's, the FCC's of April 2025, Twilio's and other carriers', and what people write in
/// the languages in which Twilio's Advanced Opt-Out is set up. Upper case, without accents and without spaces inside. No word that
/// means something harmless in another of the languages ("fine", "para", "no").
const STOP: &[&str] = &[
    // English
    "STOP STOPALL END QUIT CANCEL UNSUBSCRIBE REVOKE OPTOUT REMOVE TD",
    // French
    "ARRET ARRETT ARRETE ARRETER ARRETEZ DESABONNER DESABONNEMENT DESINSCRIRE ANNULER STOPPER",
    // Spanish
    "ALTO BAJA PARAR PAREN CANCELAR FIN DETENER DETENGAN TERMINAR SALIR NOMAS ELIMINAR",
    "DESUSCRIBIR DESUSCRIBIRSE DARDEBAJA DARSEDEBAJA DARMEDEBAJA",
    // Portuguese
    "PARE SAIR FIM REMOVER DESCADASTRAR DESINSCREVER",
    // German
    "STOPP ABMELDEN ABBESTELLEN BEENDEN ENDE",
    // Italian
    "FERMA FERMARE ANNULLA BASTA CANCELLA CANCELLAMI DISISCRIVI DISISCRIVIMI",
    // Dutch, Danish, Norwegian, Swedish, Finnish
    "STOPPEN AFMELDEN UITSCHRIJVEN EINDE AFMELD AVMELD AVSLUTT AVSLUTA AVREGISTRERA LOPETA",
    // Polish, Czech, Turkish, Indonesian, Vietnamese
    "KONIEC ZATRZYMAJ WYPISZ KONEC ZRUSIT IPTAL DUR BERHENTI HUY DUNG",
    // Russian, Ukrainian, Greek
    "СТОП ОТПИСАТЬСЯ ОТМЕНА ВІДПИСАТИСЯ ΔΙΑΚΟΠΗ ΣΤΟΠ",
    // Arabic, Hebrew, Hindi
    "إيقاف ايقاف توقف إلغاء הסר הפסק रोकें",
    // Chinese, Japanese, Korean
    "停止 退订 退訂 取消 取消订阅 取消訂閱 ストップ 配信停止 中止 수신거부 중지 정지",
];

/// Words that end messages also as the first of a few: "stop please", "unsubscribe me".
const STOP_FIRST: &[&str] = &["STOP UNSUBSCRIBE ARRET ARRETER ARRETEZ STOPP PARAR PAREN DETENER DETENGAN DESABONNER"];

/// So many words still are a request and no letter.
const REQUEST_WORDS: usize = 4;

/// Words that begin messages again, by themselves alone: who does not clearly ask for them gets none.
const START: &[&str] = &[
    "START YES UNSTOP OPTIN",
    "INICIAR COMENZAR EMPEZAR REANUDAR COMMENCER DEMARRER REPRENDRE STARTEN COMECAR RETOMAR INIZIA INIZIARE RIATTIVA СТАРТ 开始 開始 再開 시작",
];

const HELP: &[&str] = &["HELP INFO AIDE AYUDA AJUDA HILFE AIUTO HULP"];

/// Words that are said for politeness.
const POLITE: &[&str] =
    &["PLEASE PLS THANKS SVP STP MERCI POR FAVOR PORFAVOR GRACIAS OBRIGADO OBRIGADA BITTE DANKE GRAZIE"];

impl Inbound {
    /// What a text asks for: case, accents, punctuation and spaces do not matter.
    pub fn of(text: &str) -> Inbound {
        let text: String = text.chars().take(200).collect();
        let folded = fold(&text);
        let words: Vec<&str> = folded.split_whitespace().filter(|word| !is_among(POLITE, word)).collect();
        // Together, so that "opt out" and "S.T.O.P." are heard.
        let whole = words.concat();
        let first = words.first().is_some_and(|first| is_among(STOP_FIRST, first));
        if is_among(STOP, &whole) || first && words.len() <= REQUEST_WORDS {
            Inbound::Stop
        } else if is_among(START, &whole) {
            Inbound::Start
        } else if is_among(HELP, &whole) {
            Inbound::Help
        } else {
            Inbound::Other
        }
    }
}

/// Whether a folded word is one of the known ones.
fn is_among(known: &[&str], word: &str) -> bool {
    known.iter().flat_map(|words| words.split(' ')).any(|known| fold(known) == word)
}

/// Upper-case words with single letters: without accents, in whatever width or composition they were typed, and with a space in
/// place of everything that is no letter or digit.
fn fold(text: &str) -> String {
    let is_mark = |c: char| matches!(c, '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}');
    let letters = DecomposingNormalizer::new_nfkd().normalize(text);
    let letters = letters.chars().filter(|c| !is_mark(*c)).flat_map(char::to_uppercase);
    // Some vowels of Indian scripts and voiced sounds of Japanese are marks of their own.
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '\u{900}'..='\u{dff}' | '\u{3099}' | '\u{309a}');
    letters.map(|c| if is_part(c) { c } else { ' ' }).collect()
}

/// A text of a recipient's.
#[derive(Clone, Copy, Debug)]
pub struct InboundText<'a> {
    /// The provider's id of it: each text counts once.
    pub id: &'a str,
    /// Whose phone it came from.
    pub from: &'a Phone,
    /// What it asks for.
    pub what: Inbound,
}

/// Does what a recipient asked for: STOP and START change the opt-out at once, whatever else is known of the phone. A text that
/// came in before changes nothing: it may be replayed by whoever saw it.
pub(super) async fn inbound(ctx: &Context, caller: &Caller, text: InboundText<'_>) -> Result<InboundAnswer> {
    let (stop, action) = match text.what {
        Inbound::Stop => (true, "opt-out"),
        Inbound::Start => (false, "opt-in"),
        Inbound::Help | Inbound::Other => return Ok(InboundAnswer::Unchanged),
    };
    let tag = ctx.store.operations.keys().index.tag("inbound-text", text.id.as_bytes());
    let tag = base16ct::lower::encode_string(&tag[..8]);
    let needs = Needs { subjects: vec![Subject::Phone(text.from.clone())], ..Needs::default() };
    let (actor, policy) = (caller.actor.clone(), Arc::clone(&ctx.policy));
    ctx.operate(needs, move |facts| {
        let phone = facts.phone()?;
        let changes = phone.usage.opted_out_at.is_some() != stop;
        // One that changes nothing now would change something if it came in again later.
        let is_known = phone.usage.texts.iter().any(|known| known.1 == tag);
        if is_known || !changes && phone.usage.texts.len() >= TEXTS_MAX {
            return Ok(Decision::Nothing(InboundAnswer::Unchanged));
        }
        let now = facts.checked_now()?;
        let change = phone.updated(now, &policy.limits, |usage| {
            usage.note_text(now, &tag);
            if changes {
                usage.opted_out_at = stop.then_some(now.millis());
            }
        });
        let details = Details::new().word("by", "text");
        let outcome = if changes { "done" } else { "unchanged" };
        let event = Event::new(now, actor.clone(), action, outcome).subject(&phone.id.0).details(details);
        let answer = match (changes, stop) {
            (false, _) => InboundAnswer::Unchanged,
            (true, true) => InboundAnswer::OptedOut,
            (true, false) => InboundAnswer::OptedIn,
        };
        Ok(Decision::Write { changes: vec![change], event, answer })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_and_start_are_heard_in_any_dress() {
        for text in [
            "STOP",
            "stop",
            " Stop. ",
            "StOp!!!",
            "end",
            "Quit",
            "CANCEL",
            "unsubscribe",
            "REVOKE",
            "opt out",
            "OPT-OUT",
            "optout",
            "Arrêt",
            "ARRET",
            "stop please",
            "Please stop",
            "stop texting me",
            "stop sending me codes",
            "STOPALL",
            "stop all",
            "Ｓｔｏｐ",
            "\"STOP\"",
            "\nstop\r\n",
            "unsubscribe me please",
            "stopp",
        ] {
            assert_eq!(Inbound::of(text), Inbound::Stop, "{text:?}");
        }
        for text in [
            "PARAR",
            "cancelar",
            "Fin.",
            "¡Detener!",
            "parar por favor",
            "dar de baja",
            "D\u{c9}SABONNER",
            "arre\u{302}t",
            "a r r ê t",
            "s.t.o.p.",
            "st\u{200b}op",
            "STOP\u{feff}",
            "abmelden bitte",
            "стоп",
            "إيقاف",
            "停止",
            "ｽﾄｯﾌﾟ",
            "수신거부",
            "रोकें",
            "İptal",
        ] {
            assert_eq!(Inbound::of(text), Inbound::Stop, "{text:?}");
        }
        for text in ["start", "START.", "unstop", "Yes", "opt in", "¡Iniciar!", "Começar", "старт"] {
            assert_eq!(Inbound::of(text), Inbound::Start, "{text:?}");
        }
        for text in ["help", "HELP?", "info", "Ayuda"] {
            assert_eq!(Inbound::of(text), Inbound::Help, "{text:?}");
        }
        for text in [
            "",
            "123456",
            "thanks",
            "end of the road",
            "cancel my order for tomorrow",
            "don't stop me now, I am having a good time",
            "stop by the shop on your way home",
            "stop by the blue shop",
            "yes I did",
            "fine",
            "para",
            "no",
            "cancelar mi cita de mañana",
            "al fin llegó",
            "sí",
        ] {
            assert_eq!(Inbound::of(text), Inbound::Other, "{text:?}");
        }
        assert_eq!(Inbound::of(&"stop ".repeat(10_000)), Inbound::Other);
    }
}
