//! The table of error codes, by ascending code.

use super::entry::{CatalogueEntry, Retry, Stage};
use crate::provider::Blame;

#[rustfmt::skip]
pub(super) const ENTRIES: &[CatalogueEntry] = &[
    entry(10001, (Stage::Request, Some(400), Blame::Account, Retry::AfterFix), [
        "Account not active",
        "Account has been disabled, normally for lack of funds or a policy breach",
        "Look at balance and suspension mails in the Twilio Console, top up or open a ticket; stop all sending meanwhile",
    ]),
    entry(11200, (Stage::Webhook, None, Blame::Setup, Retry::AfterFix), [
        "Webhook retrieval failed",
        "Our callback URL did not answer well in time (15 s)",
        "Answer callbacks with 204 at once and do the work afterwards; check TLS and DNS of the callback URL",
    ]),
    entry(11205, (Stage::Webhook, None, Blame::Setup, Retry::AfterFix), [
        "Webhook connection failed",
        "Twilio could not connect to the callback URL: port closed or refused",
        "Open the port and check the firewall: Twilio must reach the callback URL from outside",
    ]),
    entry(11210, (Stage::Webhook, None, Blame::Setup, Retry::AfterFix), [
        "Webhook bad host",
        "The callback URL's host name could not be resolved",
        "Correct the host name in the callback URL, or its DNS record",
    ]),
    entry(11220, (Stage::Webhook, None, Blame::Setup, Retry::AfterFix), [
        "Webhook TLS failure",
        "The callback URL's TLS version or ciphers do not fit",
        "Serve the callback URL with TLS 1.2 or newer",
    ]),
    entry(11237, (Stage::Webhook, None, Blame::Setup, Retry::AfterFix), [
        "Webhook certificate chain",
        "The callback URL's certificate chain is incomplete or self-signed",
        "Serve the whole certificate chain, intermediates included, from a public authority",
    ]),
    entry(14107, (Stage::Delivery, None, Blame::Limit, Retry::Later), [
        "Reply loop guard",
        "More than 15 replies between two numbers in 30 s",
        "Stop answering automatically to numbers that answer automatically",
    ]),
    entry(20003, (Stage::Request, Some(401), Blame::Setup, Retry::AfterFix), [
        "Credentials rejected",
        "The credentials do not fit: wrong pair of SID and secret, rotated token, deleted key, wrong region, test credentials on a live resource, suspended account, or a Standard API key used on /Accounts or /Keys",
        "Compare the account SID and the token (or key and secret) with the Console, without spaces around them; check that TWILIO_REGION is the region of the key; use the Auth Token or a Main key for account data",
    ]),
    entry(20005, (Stage::Request, Some(403), Blame::Account, Retry::AfterFix), [
        "Account inactive",
        "The addressed account is not in active state",
        "Reactivate the account in the Console, or use another account SID",
    ]),
    entry(20006, (Stage::Request, Some(403), Blame::Setup, Retry::AfterFix), [
        "Access denied",
        "Credential is valid but lacks the right for this resource",
        "Use a key that holds the permission",
    ]),
    entry(20008, (Stage::Request, Some(403), Blame::Setup, Retry::Never), [
        "Not allowed with test credentials",
        "The endpoint is not one of the few that test credentials may call",
        "Use live credentials; test credentials serve only Messages, Calls, IncomingPhoneNumbers and Lookup",
    ]),
    entry(20101, (Stage::Request, Some(401), Blame::Request, Retry::AfterFix), [
        "Bad access token",
        "The access token is malformed",
        "Issue a new access token",
    ]),
    entry(20403, (Stage::Request, Some(403), Blame::Account, Retry::AfterFix), [
        "Forbidden",
        "Account closed/suspended, or test credentials on an unsupported endpoint",
        "Check the account's state in the Console and contact support if it is closed or suspended; with test credentials, use live ones",
    ]),
    entry(20404, (Stage::Request, Some(404), Blame::Request, Retry::Never), [
        "Not found",
        "Nothing of this name under this account; in Verify: already approved, expired, cancelled or out of attempts",
        "Check the SID and that it belongs to this account; in Verify start a new verification",
    ]),
    entry(20409, (Stage::Request, Some(409), Blame::Request, Retry::Later), [
        "Conflict",
        "Resource is in a state that forbids the change",
        "Fetch the resource again and decide on its present state",
    ]),
    entry(20422, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "Invalid parameter",
        "A parameter value is not acceptable",
        "Read which parameter Twilio names and correct it",
    ]),
    entry(20429, (Stage::Request, Some(429), Blame::Limit, Retry::Backoff), [
        "Too many concurrent requests",
        "Too many requests of this account at once; this one was not processed",
        "Wait with growing, random pauses (or as long as Retry-After says) and send fewer requests at once",
    ]),
    entry(20500, (Stage::Request, Some(500), Blame::Provider, Retry::Ambiguous), [
        "Internal error",
        "Twilio failed or timed out; a message/call POST may still have been executed",
        "Repeat reads freely. Look a message up by recipient and date before sending it again",
    ]),
    entry(20503, (Stage::Request, Some(503), Blame::Provider, Retry::Ambiguous), [
        "Service unavailable",
        "Twilio's service is down for a moment; a create may still have been executed",
        "Repeat reads after a pause. Look a message up by recipient and date before sending it again",
    ]),
    entry(21201, (Stage::Voice, Some(400), Blame::Request, Retry::AfterFix), [
        "No To for call",
        "Call created without a destination",
        "Give a destination number",
    ]),
    entry(21210, (Stage::Voice, Some(400), Blame::Setup, Retry::AfterFix), [
        "From not verified for calls",
        "Caller id is neither a Twilio number nor a verified outgoing caller id",
        "Buy the number, or verify it as an outgoing caller id in the Console",
    ]),
    entry(21211, (Stage::Request, Some(400), Blame::Request, Retry::Never), [
        "Bad To number",
        "Destination is not a valid E.164 number (format, wrong country code, to itself, short code, stray channel prefix)",
        "Write the number as + country code and number; check it before sending",
    ]),
    entry(21212, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "Bad From",
        "Sender is not E.164 / valid alphanumeric id, is on a do-not-originate list or is a generic alpha id",
        "Correct TWILIO_PHONE_NUMBER: a number of the account as +14155550100, a short code, or a sender name",
    ]),
    entry(21214, (Stage::Voice, Some(400), Blame::Recipient, Retry::Later), [
        "Called number unreachable",
        "Twilio cannot route the call",
        "Check the number, or reach the user another way",
    ]),
    entry(21215, (Stage::Voice, Some(400), Blame::Setup, Retry::AfterFix), [
        "Voice geo permission off",
        "Calls to that country are not enabled",
        "Enable the country under Voice geographic permissions in the Console",
    ]),
    entry(21216, (Stage::Voice, Some(400), Blame::Fraud, Retry::AfterFix), [
        "Call blocked by Twilio",
        "High-risk or regulated destination, or missing customer profile for +1",
        "Create a primary customer profile in the Console, or ask Twilio's support",
    ]),
    entry(21217, (Stage::Voice, Some(400), Blame::Request, Retry::Never), [
        "Called number invalid",
        "Destination is not a plausible number",
        "Correct the number",
    ]),
    entry(21219, (Stage::Voice, Some(400), Blame::Account, Retry::AfterFix), [
        "Called number not verified (trial)",
        "Trial account can only call verified numbers",
        "Verify the number in the Console, or upgrade the account",
    ]),
    entry(21265, (Stage::Request, Some(400), Blame::Request, Retry::Never), [
        "To is a short code",
        "Short codes cannot receive from Twilio numbers",
        "Use the number of a person's phone",
    ]),
    entry(21266, (Stage::Request, Some(400), Blame::Request, Retry::Never), [
        "To equals From",
        "The message was to go to its own sender",
        "Use a destination that is not the sender",
    ]),
    entry(21401, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "Invalid phone number resource",
        "Number given is not a usable SMS number/alpha id",
        "Use a number that the account owns",
    ]),
    entry(21408, (Stage::Request, Some(400), Blame::Setup, Retry::AfterFix), [
        "SMS geo permission off",
        "Destination country not enabled in Messaging Geo-Permissions",
        "Enable the country in the Console: Messaging > Settings > Geo permissions",
    ]),
    entry(21421, (Stage::Request, Some(400), Blame::Request, Retry::Never), [
        "Number invalid (purchase/lookup)",
        "Not a valid number for purchase or for adding to a service",
        "Correct the number or SID",
    ]),
    entry(21422, (Stage::Request, Some(400), Blame::Recipient, Retry::Later), [
        "Number not available",
        "The number is taken already",
        "Choose another number",
    ]),
    entry(21601, (Stage::Request, Some(400), Blame::Setup, Retry::AfterFix), [
        "From not an SMS number of yours",
        "From is not an incoming number on the account",
        "Use a number that the account bought, a short code, a sender name or a Messaging Service",
    ]),
    entry(21602, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "No content",
        "Body, MediaUrl or ContentSid missing",
        "Give the message a text",
    ]),
    entry(21603, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "No sender",
        "Neither From nor MessagingServiceSid given",
        "Set TWILIO_PHONE_NUMBER or TWILIO_MESSAGING_SERVICE_SID",
    ]),
    entry(21604, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "No To",
        "The message has no destination",
        "Give a destination number",
    ]),
    entry(21605, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "Legacy endpoint limit",
        "Old /SMS/Messages endpoint allows 160 chars only",
        "Post to Messages.json",
    ]),
    entry(21606, (Stage::Request, Some(400), Blame::Setup, Retry::AfterFix), [
        "From cannot send to this destination",
        "The sender cannot send to this destination: not able to send messages, not on this account, still being ported, or a short code of another country",
        "Check in the Console that the account owns the sender and that it can send SMS to this country, or use another sender",
    ]),
    entry(21607, (Stage::Request, Some(400), Blame::Account, Retry::AfterFix), [
        "Trial sender only",
        "Trial accounts may only send from their trial number",
        "Upgrade the account, or set TWILIO_PHONE_NUMBER to its trial number",
    ]),
    entry(21608, (Stage::Request, Some(400), Blame::Account, Retry::AfterFix), [
        "Recipient unverified (trial / no approved profile)",
        "Trial accounts, and accounts without an approved primary compliance profile, may send only to verified numbers",
        "Verify the recipient in the Console, upgrade the account, or submit its customer profile",
    ]),
    entry(21609, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "Bad StatusCallback",
        "Callback URL invalid (host missing, underscore in host, not reachable form)",
        "Use a public http or https URL whose host has no underscore",
    ]),
    entry(21610, (Stage::Request, Some(400), Blame::Recipient, Retry::Never), [
        "Recipient opted out",
        "STOP was received for this sender/service (also used by compliance toolkit)",
        "Send nothing more until the recipient answers START; never retry",
    ]),
    entry(21611, (Stage::Request, Some(429), Blame::Limit, Retry::Later), [
        "Sender queue full",
        "From already has about 10 hours of segments queued at its rate",
        "Send more slowly, add senders through a Messaging Service, or let messages lapse sooner",
    ]),
    entry(21612, (Stage::Request, Some(400), Blame::Setup, Retry::Never), [
        "To/From pair cannot be routed",
        "No route for this combination: sender type not allowed in country/carrier, format, no coverage",
        "Use another kind of sender or register a sender name; see Twilio's guidelines for the country",
    ]),
    entry(21614, (Stage::Request, Some(400), Blame::Recipient, Retry::Never), [
        "To is not a mobile number",
        "The destination is a landline or no valid number",
        "Look up the kind of line; offer a voice call to landlines",
    ]),
    entry(21617, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "Body over 1600 characters",
        "The text is longer than 1600 characters",
        "Shorten the text or split it",
    ]),
    entry(21618, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "Body not sendable",
        "Body has content that cannot be sent",
        "Look for characters that cannot be sent",
    ]),
    entry(21619, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "Could not create message",
        "Twilio could not make the message and gives the reason as text only",
        "Read the detail that Twilio gives with it",
    ]),
    entry(21620, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "Bad media URL",
        "MediaUrl lacks http(s) or is malformed",
        "Correct the media URL",
    ]),
    entry(21621, (Stage::Request, Some(400), Blame::Setup, Retry::AfterFix), [
        "Sender has no MMS",
        "The sender cannot send MMS",
        "Use a sender that can send MMS",
    ]),
    entry(21623, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "Too many media",
        "More than 10 media are attached",
        "Attach at most 10 media",
    ]),
    entry(21624, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "Bad ValidityPeriod",
        "The validity period lies outside 1 to 36000 seconds",
        "Use a whole number of seconds from 1 to 36000",
    ]),
    entry(21635, (Stage::Request, Some(400), Blame::Recipient, Retry::Never), [
        "To is a landline",
        "The destination is a landline; Twilio refuses these in most countries",
        "Offer a voice call; force delivery only if you know that the line takes SMS",
    ]),
    entry(21654, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "ContentVariables without ContentSid",
        "Variables given but no template",
        "Name the template with ContentSid",
    ]),
    entry(21655, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "ContentSid invalid",
        "The template's SID is malformed or cannot be used",
        "Correct the template's SID (HX and 32 hex digits)",
    ]),
    entry(21656, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "ContentVariables not JSON",
        "Must be a JSON object string",
        "Write the variables as a JSON object",
    ]),
    entry(21657, (Stage::Request, Some(400), Blame::Setup, Retry::AfterFix), [
        "Sender id not allowed in destination",
        "The destination country does not support this kind of sender",
        "Use a kind of sender that the destination country supports",
    ]),
    entry(21659, (Stage::Request, Some(400), Blame::Setup, Retry::AfterFix), [
        "From is not a Twilio number",
        "The sender is unknown to Twilio, still being ported, or a short code of another country",
        "Correct the sender: a number or short code of the account that suits the destination's country",
    ]),
    entry(21660, (Stage::Request, Some(400), Blame::Setup, Retry::AfterFix), [
        "From belongs to another account",
        "Credentials and sender are of different accounts/subaccounts",
        "Use credentials and sender of the same account or subaccount",
    ]),
    entry(21661, (Stage::Request, Some(400), Blame::Setup, Retry::AfterFix), [
        "From not SMS-capable",
        "The number cannot send SMS",
        "Choose a number that can send SMS",
    ]),
    entry(21664, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "FallbackFrom with From",
        "FallbackFrom only works with a Messaging Service",
        "Send through a Messaging Service",
    ]),
    entry(21701, (Stage::Request, Some(404), Blame::Setup, Retry::AfterFix), [
        "Messaging Service not found",
        "MG sid unknown to this account",
        "Check TWILIO_MESSAGING_SERVICE_SID and that it belongs to this account",
    ]),
    entry(21703, (Stage::Request, Some(400), Blame::Setup, Retry::AfterFix), [
        "No suitable sender in service",
        "No sender in the pool can reach this destination",
        "Add a sender that serves the destination to the Messaging Service",
    ]),
    entry(21704, (Stage::Request, Some(400), Blame::Setup, Retry::AfterFix), [
        "Service has no senders",
        "The Messaging Service has no sender at all",
        "Add a number or a sender name to the Messaging Service",
    ]),
    entry(21705, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "MG sid malformed",
        "The Messaging Service's SID is malformed",
        "Correct TWILIO_MESSAGING_SERVICE_SID: MG and 32 hex digits",
    ]),
    entry(21714, (Stage::Request, Some(400), Blame::Limit, Retry::AfterFix), [
        "Sender pool full",
        "Default limit of 400 senders reached",
        "Remove senders, or ask Twilio for a higher limit",
    ]),
    entry(30001, (Stage::Delivery, None, Blame::Limit, Retry::Later), [
        "Queue overflow",
        "Pool/service queue beyond the limit (about 10 h)",
        "Send more slowly, add senders, or let messages lapse sooner",
    ]),
    entry(30002, (Stage::Delivery, None, Blame::Account, Retry::AfterFix), [
        "Account suspended mid-queue",
        "Suspended after acceptance, before sending",
        "Settle bills or policy questions in the Console, then send again",
    ]),
    entry(30003, (Stage::Delivery, None, Blame::Recipient, Retry::Later), [
        "Handset unreachable",
        "Phone off, no signal, roaming, or not SMS-capable",
        "Try once more after 30 to 60 minutes, or reach the user another way",
    ]),
    entry(30004, (Stage::Delivery, None, Blame::Recipient, Retry::Never), [
        "Blocked",
        "The recipient or the carrier blocks these messages (do-not-disturb list, STOP to a toll-free number)",
        "Send nothing more to this number",
    ]),
    entry(30005, (Stage::Delivery, None, Blame::Recipient, Retry::Never), [
        "Unknown handset",
        "Number does not exist or is inactive",
        "Mark the number as invalid and ask the user for another",
    ]),
    entry(30006, (Stage::Delivery, None, Blame::Recipient, Retry::OtherChannel), [
        "Landline or unreachable carrier",
        "The line cannot take SMS",
        "Look up the kind of line; offer a voice call",
    ]),
    entry(30007, (Stage::Delivery, None, Blame::Carrier, Retry::AfterFix), [
        "Filtered",
        "Twilio or carrier filtered as unwanted",
        "Review text, links and the sender's registration; never repeat in a loop",
    ]),
    entry(30008, (Stage::Delivery, None, Blame::Carrier, Retry::Later), [
        "Unknown carrier error",
        "The carrier gave no reason",
        "Try once more; if it goes on, give Twilio's support three or more message SIDs",
    ]),
    entry(30010, (Stage::Delivery, None, Blame::Setup, Retry::Never), [
        "MaxPrice exceeded",
        "MaxPrice is obsolete since 2024-06-03",
        "Send without MaxPrice",
    ]),
    entry(30017, (Stage::Delivery, None, Blame::Carrier, Retry::Later), [
        "Carrier congestion",
        "The carrier was congested; Twilio tried again and gave up",
        "Spread the traffic and send again later",
    ]),
    entry(30018, (Stage::Delivery, None, Blame::Setup, Retry::AfterFix), [
        "Alpha id not pre-registered (warning)",
        "The country wants sender names to be registered (a warning)",
        "Register the sender name for the country",
    ]),
    entry(30019, (Stage::Delivery, None, Blame::Request, Retry::AfterFix), [
        "Content too big for carrier",
        "Media size over carrier limit",
        "Make the media smaller",
    ]),
    entry(30022, (Stage::Delivery, None, Blame::Limit, Retry::Later), [
        "10DLC rate exceeded",
        "The campaign's throughput is exceeded, or too many went to one number",
        "Send more slowly per campaign",
    ]),
    entry(30023, (Stage::Delivery, None, Blame::Limit, Retry::Later), [
        "10DLC daily cap",
        "Brand daily cap at carrier reached; resets 00:00 US Pacific",
        "Wait until midnight US Pacific time, or raise the brand's tier",
    ]),
    entry(30024, (Stage::Delivery, None, Blame::Setup, Retry::AfterFix), [
        "Numeric sender not provisioned at carrier",
        "Registration still propagating or short code inactive",
        "Wait for the registration, or complete it",
    ]),
    entry(30027, (Stage::Delivery, None, Blame::Limit, Retry::Later), [
        "T-Mobile daily limit reached",
        "All of the daily limit at T-Mobile is used",
        "Wait until midnight US Pacific time",
    ]),
    entry(30029, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "Bad ContentRetention",
        "Invalid value or privacy feature not enabled",
        "Use retain or discard, and enable the feature for the account",
    ]),
    entry(30032, (Stage::Delivery, None, Blame::Setup, Retry::AfterFix), [
        "Toll-free not verified",
        "Toll-free numbers must be verified to send to the US and Canada",
        "Submit the toll-free verification in the Console",
    ]),
    entry(30033, (Stage::Delivery, None, Blame::Account, Retry::AfterFix), [
        "Campaign suspended",
        "The number's A2P 10DLC campaign is suspended",
        "Contact Twilio's support about the campaign",
    ]),
    entry(30034, (Stage::Delivery, None, Blame::Setup, Retry::AfterFix), [
        "Unregistered 10DLC sender",
        "A US number without approved brand and campaign",
        "Register brand and campaign (A2P 10DLC); until then send from a verified toll-free number or a short code",
    ]),
    entry(30035, (Stage::Delivery, None, Blame::Setup, Retry::Later), [
        "Number registration in progress",
        "The number waits for its campaign registration",
        "Wait until the registration is complete",
    ]),
    entry(30036, (Stage::Delivery, None, Blame::Limit, Retry::Ambiguous), [
        "Validity period expired",
        "Message aged out in Twilio's queue and was not sent",
        "Send a new code: an old one was rightly not delivered. For other messages allow more time",
    ]),
    entry(30039, (Stage::Delivery, None, Blame::Provider, Retry::Never), [
        "Filtered to stop message loops",
        "An incoming message looked machine-made and was dropped to stop a loop",
        "Nothing to do",
    ]),
    entry(30042, (Stage::Delivery, None, Blame::Setup, Retry::AfterFix), [
        "Sender id blocked as generic",
        "The sender name is too generic or holds odd characters",
        "Use a sender name that shows the brand",
    ]),
    entry(30044, (Stage::Delivery, None, Blame::Account, Retry::AfterFix), [
        "Trial segment limit",
        "Trial accounts cannot send many segments",
        "Shorten the text, or upgrade the account",
    ]),
    entry(30045, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "ValidityPeriod out of range (warning)",
        "The validity period lies outside 0 to 36000 seconds (a warning)",
        "Use a whole number of seconds from 1 to 36000",
    ]),
    entry(30409, (Stage::Request, Some(400), Blame::Request, Retry::Never), [
        "Cannot cancel",
        "The message had reached its last status already",
        "Nothing to do: it was too late to cancel",
    ]),
    entry(30410, (Stage::Delivery, None, Blame::Carrier, Retry::Ambiguous), [
        "Provider timeout",
        "Carrier side timed out; Twilio does not retry to avoid duplicates",
        "Send a new code; send other messages again later",
    ]),
    entry(30450, (Stage::Delivery, None, Blame::Fraud, Retry::Later), [
        "SMS pumping block",
        "The destination is blocked as suspected SMS pumping, typically for 15 to 30 minutes",
        "Look into the traffic to this destination; keep RiskCheck on; put numbers known to be good on the safe list",
    ]),
    entry(30453, (Stage::Delivery, None, Blame::Fraud, Retry::Later), [
        "Fraud-check block (longer)",
        "The destination is blocked as suspected SMS pumping; this clears in hours",
        "Look into the traffic to this destination; keep RiskCheck on; put numbers known to be good on the safe list",
    ]),
    entry(30500, (Stage::Delivery, None, Blame::Provider, Retry::Later), [
        "Twilio internal error on message",
        "Twilio met an internal fault with this one message",
        "Send again once; contact Twilio's support if it goes on",
    ]),
    entry(30610, (Stage::Delivery, None, Blame::Setup, Retry::Later), [
        "Quiet hours block",
        "The compliance toolkit blocks messages in quiet hours (US)",
        "Send in the allowed hours",
    ]),
    entry(30640, (Stage::Delivery, None, Blame::Recipient, Retry::Never), [
        "Known-litigator block",
        "The compliance toolkit blocks this recipient as a known litigator",
        "Send nothing more to this number",
    ]),
    entry(30649, (Stage::Request, Some(400), Blame::Setup, Retry::AfterFix), [
        "High-risk country permission",
        "Geo permission for a high-risk country cannot be changed by API",
        "Change the permission in the Console, or ask Twilio's support",
    ]),
    entry(35111, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "SendAt missing",
        "ScheduleType=fixed without SendAt",
        "Give the time with SendAt",
    ]),
    entry(35114, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "SendAt out of window",
        "The time to send must lie 5 minutes to 35 days ahead",
        "Choose a time 5 minutes to 35 days ahead, with a minute to spare",
    ]),
    entry(35115, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "SendAt out of window",
        "The time to send must lie 5 minutes to 35 days ahead",
        "Choose a time 5 minutes to 35 days ahead, with a minute to spare",
    ]),
    entry(35118, (Stage::Request, Some(400), Blame::Setup, Retry::AfterFix), [
        "Scheduling needs MG sid",
        "Scheduling needs a Messaging Service; without ScheduleType the message would go out at once",
        "Set TWILIO_MESSAGING_SERVICE_SID, or schedule locally",
    ]),
    entry(35125, (Stage::Request, Some(400), Blame::Limit, Retry::Later), [
        "Too many scheduled",
        "500,000 scheduled per account",
        "Wait, or schedule locally",
    ]),
    entry(35126, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "ScheduleType not supported",
        "Value other than fixed or unsupported channel",
        "Use ScheduleType fixed on a channel that supports it",
    ]),
    entry(60200, (Stage::Verify, Some(400), Blame::Request, Retry::AfterFix), [
        "Invalid parameter",
        "Parameter named in message is wrong (To without +, unknown Channel, Code not 4-10 chars, FriendlyName too long or with 5+ digits)",
        "Correct the parameter that Twilio names",
    ]),
    entry(60202, (Stage::Verify, Some(429), Blame::Limit, Retry::Later), [
        "Max check attempts",
        "5 wrong checks; the 6th is refused until expiry (10 min)",
        "Wait until the verification expires, or cancel it and start another",
    ]),
    entry(60203, (Stage::Verify, Some(429), Blame::Limit, Retry::Later), [
        "Max send attempts",
        "Five sends without completing the verification",
        "Complete the verification, wait 10 minutes, or cancel it",
    ]),
    entry(60204, (Stage::Verify, Some(403), Blame::Setup, Retry::AfterFix), [
        "Feature not enabled",
        "The Verify service lacks the feature (custom code, custom name, ...)",
        "Enable the feature for the Verify service, or ask Twilio's sales",
    ]),
    entry(60205, (Stage::Verify, Some(403), Blame::Recipient, Retry::OtherChannel), [
        "Landline",
        "The number is a landline and takes no SMS",
        "Verify by a call",
    ]),
    entry(60206, (Stage::Verify, Some(400), Blame::Request, Retry::AfterFix), [
        "Amount/Payee required",
        "The Verify service is set to PSD2, which needs an amount and a payee",
        "Give both Amount and Payee",
    ]),
    entry(60207, (Stage::Verify, Some(400), Blame::Limit, Retry::AfterFix), [
        "Too many rate limits in service",
        "Limit count per service reached",
        "Use an existing rate limit again, or delete one",
    ]),
    entry(60209, (Stage::Verify, Some(400), Blame::Request, Retry::AfterFix), [
        "Bad UniqueName",
        "The unique name holds characters that are not allowed",
        "Use letters, digits and - _ . alone",
    ]),
    entry(60211, (Stage::Verify, Some(400), Blame::Request, Retry::AfterFix), [
        "Bucket interval duplicate",
        "A bucket of this interval exists already",
        "Change the existing bucket",
    ]),
    entry(60212, (Stage::Verify, Some(429), Blame::Limit, Retry::Backoff), [
        "Too many concurrent for number",
        "Too many verifications were started for one number at once",
        "Start one verification per number at a time; look for abuse",
    ]),
    entry(60214, (Stage::Verify, Some(400), Blame::Request, Retry::Never), [
        "Call not allowed with PSD2",
        "PSD2 verifications cannot go by call",
        "Use SMS",
    ]),
    entry(60217, (Stage::Verify, Some(400), Blame::Setup, Retry::AfterFix), [
        "Service misconfigured",
        "The Verify service lacks a setting, for example a mailer for the e-mail channel",
        "Complete the Verify service's settings",
    ]),
    entry(60220, (Stage::Verify, Some(400), Blame::Account, Retry::AfterFix), [
        "China needs vetting",
        "Account not allowed for China",
        "Contact Twilio's support",
    ]),
    entry(60221, (Stage::Verify, Some(400), Blame::Request, Retry::AfterFix), [
        "No target",
        "Neither To nor VerificationSid was given",
        "Give To or VerificationSid",
    ]),
    entry(60223, (Stage::Verify, Some(400), Blame::Setup, Retry::OtherChannel), [
        "Channel disabled",
        "The channel is switched off in the Verify service",
        "Enable the channel in the Verify service, or use another",
    ]),
    entry(60228, (Stage::Verify, Some(404), Blame::Request, Retry::AfterFix), [
        "Template not found",
        "No template of this SID",
        "Correct the template's SID",
    ]),
    entry(60238, (Stage::Verify, Some(403), Blame::Account, Retry::AfterFix), [
        "Creation blocked by Twilio",
        "The account is under review, or the country is under embargo",
        "Contact Twilio's support if it lasts longer than 72 hours",
    ]),
    entry(60408, (Stage::Verify, Some(400), Blame::Request, Retry::AfterFix), [
        "TemplateSid not for this channel",
        "Template given on a channel that cannot use it",
        "Send without the template on this channel",
    ]),
    entry(60410, (Stage::Verify, Some(403), Blame::Fraud, Retry::Later), [
        "Fraud Guard block",
        "Prefix blocked (documented up to 12 h; support text: 5 min..12 h)",
        "Use another channel, put the number on the safe list, or lower the protection level",
    ]),
    entry(60411, (Stage::Verify, Some(400), Blame::Request, Retry::Never), [
        "Already on safe list",
        "The number is on the safe list already",
        "Nothing to do",
    ]),
    entry(60412, (Stage::Verify, Some(403), Blame::Fraud, Retry::Later), [
        "Fraudulent sign-up prevention",
        "The sign-up is held to be of high risk",
        "Put the number on the safe list, or switch RiskCheck off for it on purpose",
    ]),
    entry(60413, (Stage::Verify, Some(403), Blame::Fraud, Retry::AfterFix), [
        "Device Intelligence block",
        "The telemetry id is risky or was used before",
        "Take a fresh telemetry id, or adjust the rules",
    ]),
    entry(60550, (Stage::Verify, Some(400), Blame::Setup, Retry::AfterFix), [
        "Auto channel failed",
        "None of the channels passed validation",
        "Look into Twilio's debugger",
    ]),
    entry(60600, (Stage::Lookup, Some(404), Blame::Recipient, Retry::Never), [
        "Out of coverage",
        "There is no data for this number",
        "Go on without look-up data for this number",
    ]),
    entry(60601, (Stage::Lookup, Some(403), Blame::Account, Retry::AfterFix), [
        "Canada needs authorisation",
        "Look-ups of Canadian numbers need an authorisation",
        "Apply for the authorisation in the Console",
    ]),
    entry(60602, (Stage::Verify, Some(400), Blame::Request, Retry::AfterFix), [
        "AppHash only for SMS",
        "The app hash works with SMS alone",
        "Send the app hash by SMS alone",
    ]),
    entry(60605, (Stage::Verify, Some(403), Blame::Setup, Retry::AfterFix), [
        "Verify geo-permission",
        "The country is not enabled for Verify",
        "Enable the country in Verify's geographic permissions",
    ]),
    entry(60606, (Stage::Lookup, Some(403), Blame::Account, Retry::AfterFix), [
        "Lookup package off",
        "The account has no access to this Lookup package",
        "Enable the Lookup package for the account",
    ]),
    entry(60608, (Stage::Lookup, Some(500), Blame::Provider, Retry::Backoff), [
        "Lookup provider error",
        "The source behind Lookup failed",
        "Repeat after a pause",
    ]),
    entry(60616, (Stage::Lookup, Some(429), Blame::Limit, Retry::Backoff), [
        "Lookup rate limit",
        "More look-ups than the package's rate allows",
        "Look up more slowly",
    ]),
    entry(63001, (Stage::Delivery, None, Blame::Setup, Retry::AfterFix), [
        "Channel auth failed",
        "The channel's own credentials (WhatsApp, Messenger) do not work",
        "Connect the channel's sender again in the Console",
    ]),
    entry(63003, (Stage::Delivery, None, Blame::Recipient, Retry::Never), [
        "Channel To not found",
        "Number not on WhatsApp or invalid",
        "Send by SMS",
    ]),
    entry(63005, (Stage::Delivery, None, Blame::Request, Retry::AfterFix), [
        "Channel rejected content",
        "The channel does not accept the content",
        "Correct the content",
    ]),
    entry(63007, (Stage::Request, Some(400), Blame::Setup, Retry::AfterFix), [
        "No channel for From",
        "The account has no registered sender for this channel",
        "Register the sender for the channel, and write it with its prefix (whatsapp:+14155550100)",
    ]),
    entry(63010, (Stage::Delivery, None, Blame::Provider, Retry::Later), [
        "Channel platform error",
        "Twilio's channel platform met an internal fault",
        "Try again later",
    ]),
    entry(63012, (Stage::Delivery, None, Blame::Provider, Retry::Later), [
        "Channel provider error",
        "The channel's provider met an internal fault",
        "Try again later",
    ]),
    entry(63013, (Stage::Delivery, None, Blame::Setup, Retry::AfterFix), [
        "Channel policy violation",
        "The message violates the channel's policy",
        "Bring the use in line with the channel's policy",
    ]),
    entry(63014, (Stage::Delivery, None, Blame::Recipient, Retry::Never), [
        "Recipient blocked you",
        "The recipient blocked this sender",
        "Send nothing more to this user on this channel",
    ]),
    entry(63015, (Stage::Delivery, None, Blame::Setup, Retry::AfterFix), [
        "Recipient not in sandbox",
        "Sandbox only reaches joined users (join expires after 3 days)",
        "Let the recipient join the sandbox again, or use a production sender",
    ]),
    entry(63016, (Stage::Delivery, None, Blame::Request, Retry::AfterFix), [
        "Outside 24 h window",
        "Free-form text outside window; template in Body also fails since 2025-04-01",
        "Send an approved template with ContentSid and ContentVariables",
    ]),
    entry(63018, (Stage::Delivery, None, Blame::Limit, Retry::Later), [
        "Channel rate limit",
        "Sender throughput (80 MPS default) or Meta limit",
        "Send more slowly",
    ]),
    entry(63019, (Stage::Delivery, None, Blame::Request, Retry::AfterFix), [
        "Media download failed",
        "The media URL cannot be fetched, or is empty",
        "Correct the media URL and check that it can be fetched from outside",
    ]),
    entry(63020, (Stage::Delivery, None, Blame::Account, Retry::AfterFix), [
        "Business Manager problem",
        "The business account at Meta is not in order, or an invitation is open",
        "Accept or repair the business account in Meta's Business Manager",
    ]),
    entry(63021, (Stage::Delivery, None, Blame::Request, Retry::AfterFix), [
        "Invalid channel content",
        "The content is too long (templates: 1024 characters) or holds unsupported media",
        "Shorten the content (templates: 1024 characters) or use supported media",
    ]),
    entry(63024, (Stage::Delivery, None, Blame::Recipient, Retry::Never), [
        "Invalid recipient",
        "The recipient does not use WhatsApp",
        "Send by SMS",
    ]),
    entry(63027, (Stage::Delivery, None, Blame::Setup, Retry::AfterFix), [
        "Template missing for language",
        "The template has no translation for the language",
        "Add the translation to the template",
    ]),
    entry(63028, (Stage::Delivery, None, Blame::Request, Retry::AfterFix), [
        "Variable count mismatch",
        "ContentVariables do not match template",
        "Give exactly the variables that the template names",
    ]),
    entry(63032, (Stage::Delivery, None, Blame::Recipient, Retry::Never), [
        "WhatsApp experiment limit",
        "The recipient takes part in an experiment of WhatsApp and gets no such messages",
        "Use another channel",
    ]),
    entry(63036, (Stage::Delivery, None, Blame::Recipient, Retry::OtherChannel), [
        "RCS unreachable",
        "The recipient's phone has no RCS",
        "Send by SMS",
    ]),
    entry(63038, (Stage::Delivery, None, Blame::Limit, Retry::Later), [
        "Daily message limit",
        "The account's daily cap is reached (a trial on WhatsApp: 50)",
        "Wait for the next day, or ask for a higher limit",
    ]),
    entry(63041, (Stage::Delivery, None, Blame::Setup, Retry::Later), [
        "Template paused",
        "The template is paused because of bad feedback",
        "Use another template",
    ]),
    entry(63042, (Stage::Delivery, None, Blame::Setup, Retry::Never), [
        "Template disabled",
        "The template is disabled for good",
        "Make a new template",
    ]),
    entry(63049, (Stage::Delivery, None, Blame::Carrier, Retry::Never), [
        "Meta declined marketing",
        "Meta declined a marketing message: a US recipient, or the cap per user",
        "Use a utility or authentication template, or SMS",
    ]),
    entry(63051, (Stage::Delivery, None, Blame::Account, Retry::AfterFix), [
        "WhatsApp account locked",
        "The WhatsApp account is locked for a violation",
        "Appeal at Meta",
    ]),
    entry(70051, (Stage::Request, Some(401), Blame::Setup, Retry::AfterFix), [
        "Authorization failed",
        "Restricted key/OAuth app lacks permission, or key/account inactive",
        "Add the permission to the restricted key, or use another key",
    ]),
    entry(90007, (Stage::Request, Some(400), Blame::Request, Retry::AfterFix), [
        "Bad validity_period",
        "The validity period lies outside 1 to 36000 seconds",
        "Use a whole number of seconds from 1 to 36000",
    ]),
];

/// An entry on few lines: the table is read by people too.
const fn entry(code: u32, class: (Stage, Option<u16>, Blame, Retry), texts: [&'static str; 3]) -> CatalogueEntry {
    let (stage, http_status, blame, retry) = class;
    let [title, meaning, fix] = texts;
    CatalogueEntry { code, stage, http_status, blame, retry, title, meaning, fix }
}
