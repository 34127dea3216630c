//! The built-in texts of OTP messages.
//!
//! Each takes one SMS in the script of its language: texts in Latin letters keep to the GSM-7 alphabet where their language reads well
//! in it. Minutes are abbreviated where a language has several plurals. A code that confirms a phone may have to be read out to support
//! staff, so that text does not forbid sharing it.

use crate::locale::Locale;
use crate::purpose::Purpose;

/// The texts of one locale: for registration, login, password reset, the confirmation of a phone, and any other purpose.
struct Texts(&'static str, [&'static str; 5]);

/// The built-in text of a purpose in a locale or in one that is wider.
pub fn text(purpose: &Purpose, locale: &Locale) -> Option<&'static str> {
    let nth = match purpose.as_str() {
        "registration" => 0,
        "login" => 1,
        "password_reset" => 2,
        "phone_verification" => 3,
        _ => 4,
    };
    let of = |locale: Locale| TEXTS.iter().find(|texts| texts.0 == locale.as_str());
    locale.and_wider().into_iter().find_map(of).map(|texts| texts.1[nth])
}

/// The locales that have texts.
pub fn locales() -> impl Iterator<Item = &'static str> {
    TEXTS.iter().map(|texts| texts.0)
}

const TEXTS: &[Texts] = &[
    Texts(
        "en",
        [
            "{{ code }} is your {{ app }} sign-up code. It works for {{ time }}. Do not share it.",
            "{{ code }} is your {{ app }} sign-in code. It works for {{ time }}. Do not share it.",
            "{{ code }} resets your {{ app }} password. It works for {{ time }}. Do not share it.",
            "{{ code }} is your {{ app }} code to confirm this phone. It works for {{ time }}.",
            "{{ code }} is your {{ app }} code. It works for {{ time }}. Do not share it.",
        ],
    ),
    Texts(
        "ar",
        [
            "{{ code }} رمز التسجيل في {{ app }}. صالح لمدة {{ minutes }} د.",
            "{{ code }} رمز الدخول إلى {{ app }}. صالح لمدة {{ minutes }} د. لا تشاركه.",
            "{{ code }} رمز تغيير كلمة مرور {{ app }}. صالح لمدة {{ minutes }} د.",
            "{{ code }} رمز تأكيد هذا الرقم في {{ app }}. صالح لمدة {{ minutes }} د.",
            "{{ code }} رمزك من {{ app }}. صالح لمدة {{ minutes }} د. لا تشاركه.",
        ],
    ),
    Texts(
        "cs",
        [
            "{{ code }} je kód pro registraci v {{ app }}. Platí {{ minutes }} min.",
            "{{ code }} je kód pro přihlášení do {{ app }}. Platí {{ minutes }} min.",
            "{{ code }} je kód pro nové heslo v {{ app }}. Platí {{ minutes }} min.",
            "{{ code }} je kód z {{ app }} k potvrzení čísla. Platí {{ minutes }} min.",
            "{{ code }} je váš kód z {{ app }}. Platí {{ minutes }} min.",
        ],
    ),
    Texts(
        "da",
        [
            "{{ code }} er din kode til at oprette dig hos {{ app }}. Gælder {{ minutes }} min. Del den ikke.",
            "{{ code }} er din kode til at logge ind hos {{ app }}. Gælder {{ minutes }} min. Del den ikke.",
            "{{ code }} nulstiller din adgangskode hos {{ app }}. Gælder {{ minutes }} min. Del den ikke.",
            "{{ code }} er koden fra {{ app }} til at bekræfte dette nummer. Gælder {{ minutes }} min.",
            "{{ code }} er din kode fra {{ app }}. Gælder {{ minutes }} min. Del den ikke.",
        ],
    ),
    Texts(
        "de",
        [
            "{{ code }} ist Ihr Registrierungscode für {{ app }}. Gültig {{ minutes }} Min. Nicht weitergeben.",
            "{{ code }} ist Ihr Anmeldecode für {{ app }}. Gültig {{ minutes }} Min. Nicht weitergeben.",
            "{{ code }} setzt Ihr Passwort bei {{ app }} zurück. Gültig {{ minutes }} Min. Nicht weitergeben.",
            "{{ code }} ist Ihr Code von {{ app }} zur Bestätigung dieser Nummer. Gültig {{ minutes }} Min.",
            "{{ code }} ist Ihr Code von {{ app }}. Gültig {{ minutes }} Min. Nicht weitergeben.",
        ],
    ),
    Texts(
        "el",
        [
            "{{ code }} κωδικός εγγραφής στο {{ app }}. Ισχύει {{ minutes }} λεπ.",
            "{{ code }} κωδικός σύνδεσης στο {{ app }}. Ισχύει {{ minutes }} λεπ.",
            "{{ code }} κωδικός για νέο συνθηματικό στο {{ app }}. Ισχύει {{ minutes }} λεπ.",
            "{{ code }} επιβεβαιώνει τον αριθμό στο {{ app }}. Ισχύει {{ minutes }} λεπ.",
            "{{ code }} ο κωδικός σας από το {{ app }}. Ισχύει {{ minutes }} λεπ.",
        ],
    ),
    Texts(
        "es",
        [
            "{{ code }} es tu clave de registro en {{ app }}. Caduca en {{ minutes }} min. No la compartas.",
            "{{ code }} es tu clave de acceso a {{ app }}. Caduca en {{ minutes }} min. No la compartas.",
            "{{ code }} es la clave para cambiar tu contraseña de {{ app }}. Caduca en {{ minutes }} min. No la compartas.",
            "{{ code }} es la clave de {{ app }} para confirmar este teléfono. Caduca en {{ minutes }} min.",
            "{{ code }} es tu clave de {{ app }}. Caduca en {{ minutes }} min. No la compartas.",
        ],
    ),
    Texts(
        "fi",
        [
            "{{ code }} on rekisteröitymiskoodisi: {{ app }}. Voimassa {{ minutes }} min. Älä jaa sitä.",
            "{{ code }} on kirjautumiskoodisi: {{ app }}. Voimassa {{ minutes }} min. Älä jaa sitä.",
            "{{ code }} vaihtaa salasanasi: {{ app }}. Voimassa {{ minutes }} min. Älä jaa sitä.",
            "{{ code }} vahvistaa tämän numeron: {{ app }}. Voimassa {{ minutes }} min.",
            "{{ code }} on koodisi: {{ app }}. Voimassa {{ minutes }} min. Älä jaa sitä.",
        ],
    ),
    Texts(
        "fr",
        [
            "{{ code }} est votre code d'inscription {{ app }}. Valable {{ minutes }} min. Ne le partagez pas.",
            "{{ code }} est votre code de connexion {{ app }}. Valable {{ minutes }} min. Ne le partagez pas.",
            "{{ code }} réinitialise votre mot de passe {{ app }}. Valable {{ minutes }} min. Ne le partagez pas.",
            "{{ code }} est votre code {{ app }} pour confirmer ce numéro. Valable {{ minutes }} min.",
            "{{ code }} est votre code {{ app }}. Valable {{ minutes }} min. Ne le partagez pas.",
        ],
    ),
    Texts(
        "he",
        [
            "{{ code }} קוד ההרשמה ל-{{ app }}. תקף {{ minutes }} דק'. אין לשתף.",
            "{{ code }} קוד הכניסה ל-{{ app }}. תקף {{ minutes }} דק'. אין לשתף.",
            "{{ code }} קוד איפוס הסיסמה ב-{{ app }}. תקף {{ minutes }} דק'.",
            "{{ code }} קוד אימות המספר ב-{{ app }}. תקף {{ minutes }} דק'.",
            "{{ code }} הקוד שלך מ-{{ app }}. תקף {{ minutes }} דק'. אין לשתף.",
        ],
    ),
    Texts(
        "hi",
        [
            "{{ code }} आपका {{ app }} पंजीकरण कोड है। {{ minutes }} मिनट मान्य।",
            "{{ code }} आपका {{ app }} लॉगिन कोड है। {{ minutes }} मिनट मान्य।",
            "{{ code }} से {{ app }} का पासवर्ड बदलें। {{ minutes }} मिनट मान्य।",
            "{{ code }} से {{ app }} पर यह नंबर पक्का करें। {{ minutes }} मिनट मान्य।",
            "{{ code }} आपका {{ app }} कोड है। {{ minutes }} मिनट मान्य।",
        ],
    ),
    Texts(
        "hu",
        [
            "{{ code }} a regisztrációs kódja: {{ app }}. {{ minutes }} percig él.",
            "{{ code }} a belépési kódja: {{ app }}. {{ minutes }} percig él.",
            "{{ code }} az új jelszó kódja: {{ app }}. {{ minutes }} percig él.",
            "{{ code }} a telefonszámát igazolja: {{ app }}. {{ minutes }} percig él.",
            "{{ code }} a kódja: {{ app }}. {{ minutes }} percig él.",
        ],
    ),
    Texts(
        "id",
        [
            "{{ code }} adalah kode pendaftaran {{ app }} Anda. Berlaku {{ minutes }} menit. Jangan bagikan.",
            "{{ code }} adalah kode masuk {{ app }} Anda. Berlaku {{ minutes }} menit. Jangan bagikan.",
            "{{ code }} adalah kode ganti sandi {{ app }} Anda. Berlaku {{ minutes }} menit. Jangan bagikan.",
            "{{ code }} adalah kode {{ app }} untuk mengonfirmasi nomor ini. Berlaku {{ minutes }} menit.",
            "{{ code }} adalah kode {{ app }} Anda. Berlaku {{ minutes }} menit. Jangan bagikan.",
        ],
    ),
    Texts(
        "it",
        [
            "{{ code }} è il tuo codice di registrazione {{ app }}. Vale {{ minutes }} min. Non condividerlo.",
            "{{ code }} è il tuo codice di accesso {{ app }}. Vale {{ minutes }} min. Non condividerlo.",
            "{{ code }} reimposta la tua password {{ app }}. Vale {{ minutes }} min. Non condividerlo.",
            "{{ code }} è il codice {{ app }} per confermare questo numero. Vale {{ minutes }} min.",
            "{{ code }} è il tuo codice {{ app }}. Vale {{ minutes }} min. Non condividerlo.",
        ],
    ),
    Texts(
        "ja",
        [
            "{{ code }} は {{ app }} の登録コードです。{{ minutes }}分間有効です。誰にも教えないでください。",
            "{{ code }} は {{ app }} のログインコードです。{{ minutes }}分間有効です。誰にも教えないでください。",
            "{{ code }} は {{ app }} のパスワード再設定コードです。{{ minutes }}分間有効です。",
            "{{ code }} は {{ app }} でこの番号を確認するコードです。{{ minutes }}分間有効です。",
            "{{ code }} は {{ app }} の確認コードです。{{ minutes }}分間有効です。誰にも教えないでください。",
        ],
    ),
    Texts(
        "ko",
        [
            "[{{ app }}] 가입 인증번호 {{ code }}. {{ minutes }}분간 유효합니다. 공유하지 마세요.",
            "[{{ app }}] 로그인 인증번호 {{ code }}. {{ minutes }}분간 유효합니다. 공유하지 마세요.",
            "[{{ app }}] 비밀번호 재설정 인증번호 {{ code }}. {{ minutes }}분간 유효합니다.",
            "[{{ app }}] 이 번호의 인증번호 {{ code }}. {{ minutes }}분간 유효합니다.",
            "[{{ app }}] 인증번호 {{ code }}. {{ minutes }}분간 유효합니다. 공유하지 마세요.",
        ],
    ),
    Texts(
        "nb",
        [
            "{{ code }} er koden din for å registrere deg hos {{ app }}. Gjelder {{ minutes }} min. Ikke del den.",
            "{{ code }} er koden din for å logge inn hos {{ app }}. Gjelder {{ minutes }} min. Ikke del den.",
            "{{ code }} nullstiller passordet ditt hos {{ app }}. Gjelder {{ minutes }} min. Ikke del den.",
            "{{ code }} er koden fra {{ app }} for å bekrefte dette nummeret. Gjelder {{ minutes }} min.",
            "{{ code }} er koden din fra {{ app }}. Gjelder {{ minutes }} min. Ikke del den.",
        ],
    ),
    Texts(
        "nl",
        [
            "{{ code }} is je registratiecode voor {{ app }}. Geldig {{ minutes }} min. Deel hem niet.",
            "{{ code }} is je inlogcode voor {{ app }}. Geldig {{ minutes }} min. Deel hem niet.",
            "{{ code }} herstelt je wachtwoord bij {{ app }}. Geldig {{ minutes }} min. Deel hem niet.",
            "{{ code }} is de code van {{ app }} om dit nummer te bevestigen. Geldig {{ minutes }} min.",
            "{{ code }} is je code van {{ app }}. Geldig {{ minutes }} min. Deel hem niet.",
        ],
    ),
    Texts(
        "pl",
        [
            "{{ code }} to kod do rejestracji w {{ app }}. Wygasa za {{ minutes }} min. Zachowaj go dla siebie.",
            "{{ code }} to kod logowania do {{ app }}. Wygasa za {{ minutes }} min. Zachowaj go dla siebie.",
            "{{ code }} to kod do zmiany hasła w {{ app }}. Wygasa za {{ minutes }} min.",
            "{{ code }} to kod z {{ app }} do potwierdzenia tego numeru. Wygasa za {{ minutes }} min.",
            "{{ code }} to kod z {{ app }}. Wygasa za {{ minutes }} min. Zachowaj go dla siebie.",
        ],
    ),
    Texts(
        "pt",
        [
            "Use {{ code }} para criar a sua conta {{ app }}. Vale {{ minutes }} min. Guarde-o para si.",
            "Use {{ code }} para entrar em {{ app }}. Vale {{ minutes }} min. Guarde-o para si.",
            "Use {{ code }} para mudar a palavra-passe de {{ app }}. Vale {{ minutes }} min. Guarde-o para si.",
            "Use {{ code }} para confirmar este telefone em {{ app }}. Vale {{ minutes }} min.",
            "Use {{ code }} em {{ app }}. Vale {{ minutes }} min. Guarde-o para si.",
        ],
    ),
    Texts(
        "pt-BR",
        [
            "Use {{ code }} para criar sua conta {{ app }}. Vale {{ minutes }} min. Nunca o compartilhe.",
            "Use {{ code }} para entrar em {{ app }}. Vale {{ minutes }} min. Nunca o compartilhe.",
            "Use {{ code }} para trocar sua senha de {{ app }}. Vale {{ minutes }} min. Nunca o compartilhe.",
            "Use {{ code }} para confirmar este telefone em {{ app }}. Vale {{ minutes }} min.",
            "Use {{ code }} em {{ app }}. Vale {{ minutes }} min. Nunca o compartilhe.",
        ],
    ),
    Texts(
        "ro",
        [
            "{{ code }} este codul de înregistrare {{ app }}. Expiră în {{ minutes }} min.",
            "{{ code }} este codul de conectare {{ app }}. Expiră în {{ minutes }} min.",
            "{{ code }} este codul de resetare {{ app }}. Expiră în {{ minutes }} min.",
            "{{ code }} confirmă acest număr la {{ app }}. Expiră în {{ minutes }} min.",
            "{{ code }} este codul {{ app }}. Expiră în {{ minutes }} min.",
        ],
    ),
    Texts(
        "ru",
        [
            "{{ code }} – код регистрации в {{ app }}. Действует {{ minutes }} мин.",
            "{{ code }} – код входа в {{ app }}. Действует {{ minutes }} мин. Не сообщайте.",
            "{{ code }} – код смены пароля в {{ app }}. Действует {{ minutes }} мин.",
            "{{ code }} подтверждает номер в {{ app }}. Действует {{ minutes }} мин.",
            "{{ code }} – ваш код {{ app }}. Действует {{ minutes }} мин. Не сообщайте.",
        ],
    ),
    Texts(
        "sv",
        [
            "{{ code }} är din kod för att registrera dig hos {{ app }}. Gäller {{ minutes }} min. Dela den inte.",
            "{{ code }} är din inloggningskod för {{ app }}. Gäller {{ minutes }} min. Dela den inte.",
            "{{ code }} återställer ditt lösenord hos {{ app }}. Gäller {{ minutes }} min. Dela den inte.",
            "{{ code }} är koden från {{ app }} för att bekräfta numret. Gäller {{ minutes }} min.",
            "{{ code }} är din kod från {{ app }}. Gäller {{ minutes }} min. Dela den inte.",
        ],
    ),
    Texts(
        "th",
        [
            "{{ code }} คือรหัสสมัคร {{ app }} ใช้ได้ {{ minutes }} นาที ห้ามบอกผู้อื่น",
            "{{ code }} คือรหัสเข้าใช้ {{ app }} ใช้ได้ {{ minutes }} นาที ห้ามบอกผู้อื่น",
            "{{ code }} คือรหัสตั้งรหัสผ่านใหม่ {{ app }} ใช้ได้ {{ minutes }} นาที",
            "{{ code }} คือรหัสยืนยันเบอร์นี้กับ {{ app }} ใช้ได้ {{ minutes }} นาที",
            "{{ code }} คือรหัส {{ app }} ใช้ได้ {{ minutes }} นาที ห้ามบอกผู้อื่น",
        ],
    ),
    Texts(
        "tr",
        [
            "{{ code }} {{ app }} kayıt kodunuz. {{ minutes }} dk geçerli. Paylaşmayın.",
            "{{ code }} {{ app }} giriş kodunuz. {{ minutes }} dk geçerli. Paylaşmayın.",
            "{{ code }} {{ app }} şifre yenileme kodunuz. {{ minutes }} dk geçerli.",
            "{{ code }} {{ app }} numara onay kodunuz. {{ minutes }} dk geçerli.",
            "{{ code }} {{ app }} kodunuz. {{ minutes }} dk geçerli. Paylaşmayın.",
        ],
    ),
    Texts(
        "uk",
        [
            "{{ code }} – код реєстрації в {{ app }}. Діє {{ minutes }} хв.",
            "{{ code }} – код входу в {{ app }}. Діє {{ minutes }} хв. Нікому не кажіть.",
            "{{ code }} – код зміни пароля в {{ app }}. Діє {{ minutes }} хв.",
            "{{ code }} підтверджує номер у {{ app }}. Діє {{ minutes }} хв.",
            "{{ code }} – ваш код {{ app }}. Діє {{ minutes }} хв. Нікому не кажіть.",
        ],
    ),
    Texts(
        "vi",
        [
            "{{ code }} là mã đăng ký {{ app }}. Có hạn {{ minutes }} phút. Đừng chia sẻ.",
            "{{ code }} là mã đăng nhập {{ app }}. Có hạn {{ minutes }} phút. Đừng chia sẻ.",
            "{{ code }} là mã đặt lại mật khẩu {{ app }}. Có hạn {{ minutes }} phút.",
            "{{ code }} là mã {{ app }} xác nhận số này. Có hạn {{ minutes }} phút.",
            "{{ code }} là mã {{ app }} của bạn. Có hạn {{ minutes }} phút. Đừng chia sẻ.",
        ],
    ),
    Texts(
        "zh",
        [
            "{{ code }} 是您的 {{ app }} 注册验证码，{{ minutes }} 分钟内有效，请勿泄露。",
            "{{ code }} 是您的 {{ app }} 登录验证码，{{ minutes }} 分钟内有效，请勿泄露。",
            "{{ code }} 是重置 {{ app }} 密码的验证码，{{ minutes }} 分钟内有效，请勿泄露。",
            "{{ code }} 是 {{ app }} 确认此号码的验证码，{{ minutes }} 分钟内有效。",
            "{{ code }} 是您的 {{ app }} 验证码，{{ minutes }} 分钟内有效，请勿泄露。",
        ],
    ),
    Texts(
        "zh-Hant",
        [
            "{{ code }} 是您的 {{ app }} 註冊驗證碼，{{ minutes }} 分鐘內有效，請勿外洩。",
            "{{ code }} 是您的 {{ app }} 登入驗證碼，{{ minutes }} 分鐘內有效，請勿外洩。",
            "{{ code }} 是重設 {{ app }} 密碼的驗證碼，{{ minutes }} 分鐘內有效，請勿外洩。",
            "{{ code }} 是 {{ app }} 確認此號碼的驗證碼，{{ minutes }} 分鐘內有效。",
            "{{ code }} 是您的 {{ app }} 驗證碼，{{ minutes }} 分鐘內有效，請勿外洩。",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::super::{Endings, Values, Wording};
    use super::*;
    use crate::code::Code;
    use crate::purpose::BUILT_IN;
    use crate::segments::{self, Encoding};

    fn purposes() -> impl Iterator<Item = Purpose> {
        BUILT_IN.into_iter().chain(["payment"]).map(|name| Purpose::parse(name).unwrap())
    }

    #[test]
    fn every_text_takes_one_segment_in_its_script() {
        let latin = ["en", "da", "de", "es", "fi", "fr", "id", "it", "nb", "nl", "pl", "pt", "pt-BR", "sv"];
        assert!(locales().count() >= 20);
        for locale in locales() {
            for purpose in purposes() {
                let text = text(&purpose, &Locale::parse(locale).unwrap()).unwrap();
                let wording = Wording::parse(text).unwrap();
                let measure = |app: &str, code: &str, minutes| {
                    let code = Code::parse(code).unwrap();
                    let text = wording.render(&Values { app, code: &code, minutes }, &Endings::NONE).unwrap();
                    segments::measure(text.expose_secret())
                };
                // As most set-ups have it; and where the alphabet has room, at its longest.
                let usual = measure("ACME Shop", "012345", 10);
                assert_eq!(usual.segments, 1, "{locale} {purpose}: {} units", usual.units);
                if usual.encoding == Encoding::Gsm7 {
                    let longest = measure(&"A".repeat(30), "0123456789", 60);
                    assert_eq!(longest.segments, 1, "{locale} {purpose}: {} septets", longest.units);
                }
                let is_gsm = usual.encoding == Encoding::Gsm7;
                assert!(
                    is_gsm || !latin.contains(&locale) || text.contains("hasła"),
                    "{locale} {purpose}: {:?}",
                    usual.foreign
                );
            }
        }
    }

    #[test]
    fn a_locale_without_texts_has_those_of_a_wider_one() {
        let login = Purpose::parse("login").unwrap();
        let of = |tag: &str| text(&login, &Locale::parse(tag).unwrap());

        assert_eq!(of("de-AT"), of("de"));
        assert_eq!(of("zh-TW"), of("zh-Hant"));
        assert_ne!(of("zh-TW"), of("zh"));
        assert_ne!(of("pt-BR"), of("pt-PT"));
        assert_eq!(of("xx"), None);
        let mut sorted: Vec<_> = locales().skip(1).collect();
        sorted.sort_unstable();
        assert!(locales().skip(1).eq(sorted), "all but the fallback stand in the order of their tags");
        assert!(locales().all(|locale| Locale::parse(locale).is_some_and(|parsed| parsed.as_str() == locale)));
    }
}
