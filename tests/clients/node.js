// Drives the sandbox with Twilio's Node library, pointed at it by a custom HTTP client.
'use strict';

const assert = require('assert');
const twilio = require('twilio');
const RequestClient = require('twilio/lib/base/RequestClient');

const { TWILIO_ACCOUNT_SID: SID, TWILIO_AUTH_TOKEN: TOKEN, TWILIO_PHONE_NUMBER: NUMBER } = process.env;
const BASE = process.env.TWILIO_API_BASE_URL;
const PHONE = '+12025550132';

// Sends what is meant for any host of Twilio's to the sandbox.
class ToSandbox extends RequestClient {
  request(options) {
    return super.request({ ...options, uri: options.uri.replace(/^https:\/\/[a-z0-9.-]+\.twilio\.com/, BASE) });
  }
}

const connect = (sid, token) => twilio(sid, token, { httpClient: new ToSandbox() });

async function refused(code, status, deed) {
  await assert.rejects(deed, (error) => {
    assert.deepStrictEqual([error.code, error.status], [code, status]);
    return true;
  });
}

async function main() {
  const client = connect(SID, TOKEN);
  const made = [];
  for (let n = 0; n < 5; n += 1) {
    made.push(await client.messages.create({ to: PHONE, from: NUMBER, body: `message ${n}` }));
  }
  const [first, second] = made;
  assert.match(first.sid, /^SM[0-9a-f]{32}$/);
  assert.deepStrictEqual([first.status, first.direction, first.numSegments], ['queued', 'outbound-api', '1']);
  assert(first.dateCreated instanceof Date && !Number.isNaN(first.dateCreated.getTime()));

  const fetched = await client.messages(first.sid).fetch();
  assert.deepStrictEqual([fetched.body, fetched.to, fetched.from], ['message 0', PHONE, NUMBER]);

  const bodies = (messages) => messages.map((message) => message.body);
  const listed = await client.messages.list({ to: PHONE, pageSize: 2 });
  assert.deepStrictEqual(bodies(listed), [4, 3, 2, 1, 0].map((n) => `message ${n}`));
  const page = await client.messages.page({ to: PHONE, pageSize: 2 });
  const following = await page.nextPage();
  assert.deepStrictEqual(bodies(following.instances), ['message 2', 'message 1']);
  assert.deepStrictEqual(bodies((await following.previousPage()).instances), ['message 4', 'message 3']);
  const tomorrow = new Date(Date.now() + 86400e3);
  assert.deepStrictEqual(await client.messages.list({ to: PHONE, dateSentAfter: tomorrow }), []);

  const [service] = await client.messaging.v1.services.list({ limit: 5 });
  const pool = client.messaging.v1.services(service.sid);
  assert.strictEqual((await pool.fetch()).sid, service.sid);
  assert.strictEqual((await pool.phoneNumbers.list())[0].phoneNumber, NUMBER);
  assert.deepStrictEqual(await pool.alphaSenders.list(), []);
  const scheduled = await client.messages.create({
    to: PHONE,
    messagingServiceSid: service.sid,
    body: 'later',
    scheduleType: 'fixed',
    sendAt: new Date(Date.now() + 3600e3),
  });
  assert.deepStrictEqual([scheduled.status, scheduled.from], ['scheduled', null]);
  const cancel = () => client.messages(scheduled.sid).update({ status: 'canceled' });
  assert.strictEqual((await cancel()).status, 'canceled');
  await refused(30409, 400, cancel);

  assert.strictEqual((await client.messages(first.sid).update({ body: '' })).body, '');
  assert.strictEqual((await client.messages(first.sid).fetch()).body, '');
  assert.strictEqual((await client.messages(first.sid).feedback.create({ outcome: 'confirmed' })).outcome, 'confirmed');
  // A message on its way cannot be deleted: 20009.
  for (let nth = 0; nth < 100 && (await client.messages(second.sid).fetch()).status !== 'delivered'; nth++) {
    await new Promise((done) => setTimeout(done, 100));
  }
  assert.strictEqual(await client.messages(second.sid).remove(), true);
  await refused(20404, 404, () => client.messages(second.sid).fetch());

  const account = await client.api.v2010.accounts(SID).fetch();
  assert.deepStrictEqual([account.sid, account.status, account.type], [SID, 'active', 'Full']);
  assert.strictEqual((await client.balance.fetch()).currency, 'USD');
  const numbers = await client.incomingPhoneNumbers.list({ phoneNumber: NUMBER });
  assert.deepStrictEqual([numbers.length, numbers[0].phoneNumber, numbers[0].capabilities.sms], [1, NUMBER, true]);
  assert.strictEqual((await client.usage.records.today.list({ category: 'sms' }))[0].category, 'sms');
  assert.strictEqual((await client.pricing.v1.messaging.countries('GB').fetch()).isoCountry, 'GB');
  assert.ok((await client.pricing.v1.messaging.countries.list({ pageSize: 100 })).length > 200);
  assert.strictEqual((await client.lookups.v2.phoneNumbers(PHONE).fetch()).valid, true);
  const geo = await client.accounts.v1.messagingGeopermissions.fetch({ countryCode: 'US' });
  assert.strictEqual(geo.permissions.length, 1);

  const acme = await client.verify.v2.services.create({ friendlyName: 'ACME', codeLength: 4 });
  const verify = client.verify.v2.services(acme.sid);
  const person = '+12025550142';
  const begun = await verify.verifications.create({ to: person, channel: 'sms' });
  assert.deepStrictEqual([begun.status, begun.valid, begun.sendCodeAttempts.length], ['pending', false, 1]);
  const inbox = await (await fetch(`${BASE}/sandbox/inbox?to=${encodeURIComponent(person)}`)).json();
  const code = inbox.messages.at(-1).body.match(/[0-9]{4}/)[0];
  const check = (typed) => verify.verificationChecks.create({ to: person, code: typed });
  assert.strictEqual((await check(code === '0000' ? '1111' : '0000')).status, 'pending');
  assert.strictEqual((await check(code)).status, 'approved');
  await refused(20404, 404, () => check(code));
  const sent = await client.verify.v2.verificationAttempts.list({ verificationSid: begun.sid });
  assert.deepStrictEqual(sent.map((one) => one.conversionStatus), ['converted']);
  const sum = await client.verify.v2.verificationAttemptsSummary().fetch({ verifyServiceSid: acme.sid });
  assert.deepStrictEqual([sum.totalAttempts, sum.conversionRatePercentage], [1, '100']);
  const limit = await verify.rateLimits.create({ uniqueName: 'ip' });
  await verify.rateLimits(limit.sid).buckets.create({ max: 1, interval: 60 });
  const fromHere = (to) => verify.verifications.create({ to, channel: 'sms', rateLimits: { ip: '192.0.2.1' } });
  assert.strictEqual((await fromHere('+12025550143')).status, 'pending');
  await refused(20429, 429, () => fromHere('+12025550144'));
  assert.strictEqual(await client.verify.v2.services(acme.sid).remove(), true);
  assert.strictEqual((await client.lookups.v1.phoneNumbers(person).fetch({ type: ['carrier'] })).carrier.type, 'mobile');

  const create = (changes) => () => client.messages.create({ to: PHONE, from: NUMBER, body: 'x', ...changes });
  await refused(21604, 400, create({ to: '' }));
  await refused(21603, 400, create({ from: undefined }));
  await refused(21602, 400, create({ body: undefined }));
  await refused(21211, 400, create({ to: '12345678' }));
  await refused(21659, 400, create({ from: '+12025550199' }));
  await refused(21617, 400, create({ body: 'x'.repeat(1601) }));
  await refused(21609, 400, create({ statusCallback: 'nowhere' }));
  await refused(20404, 404, () => client.messages(`SM${'0'.repeat(32)}`).fetch());
  await refused(20003, 401, () => connect(SID, 'wrong').messages.list({ limit: 1 }));
  console.log('node: ok');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
