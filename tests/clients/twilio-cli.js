// Drives the sandbox with twilio-cli, pointed at it by a shim that is loaded before it.
'use strict';

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { spawnSync } = require('child_process');

const { TWILIO_ACCOUNT_SID: SID, TWILIO_PHONE_NUMBER: NUMBER, SMSOTP_TEST_CLIENTS: CLIENTS } = process.env;
const PHONE = '+12025550133';
const home = fs.mkdtempSync(path.join(os.tmpdir(), 'twilio-cli-'));

function run(args, more = {}) {
  const program = path.join(CLIENTS, 'node_modules', 'twilio-cli', 'bin', 'run');
  const shim = path.join(__dirname, 'shim.js');
  const result = spawnSync(process.execPath, [program, ...args, '-o', 'json'], {
    env: {
      ...process.env,
      NODE_OPTIONS: `--require ${JSON.stringify(shim)}`,
      HOME: home,
      XDG_CACHE_HOME: home,
      XDG_CONFIG_HOME: home,
      TWILIO_DISABLE_AUTOUPDATE: 'true',
      TWILIO_SKIP_NEW_VERSION_CHECK: 'true',
      ...more,
    },
    encoding: 'utf8',
    timeout: 120000,
  });
  return { status: result.status, stdout: result.stdout, stderr: result.stderr };
}

function answer(args) {
  const { status, stdout, stderr } = run(args);
  assert.strictEqual(status, 0, `${args.join(' ')}\n${stdout}${stderr}`);
  return stdout.trim() === '' ? [] : JSON.parse(stdout);
}

function refused(code, args, more) {
  const { status, stdout, stderr } = run(args, more);
  assert.strictEqual(status, Number(String(code).slice(0, 2)), `${args.join(' ')}\n${stdout}${stderr}`);
  assert(`${stdout}${stderr}`.includes(String(code)), `${args.join(' ')}\n${stdout}${stderr}`);
}

const messages = 'api:core:messages';
const text = (body) => [`${messages}:create`, '--to', PHONE, '--from', NUMBER, '--body', body];

const made = [0, 1, 2].map((n) => answer(text(`message ${n}`))[0]);
assert.match(made[0].sid, /^SM[0-9a-f]{32}$/);
assert.strictEqual(made[0].status, 'queued');
const [fetched] = answer([`${messages}:fetch`, '--sid', made[0].sid]);
assert.deepStrictEqual([fetched.body, fetched.to], ['message 0', PHONE]);
const list = (...more) => answer([`${messages}:list`, '--to', PHONE, ...more]).map((message) => message.body);
assert.deepStrictEqual(list(), ['message 2', 'message 1', 'message 0']);
assert.deepStrictEqual(list('--page-size', '1', '--limit', '2'), ['message 2', 'message 1'], 'it follows the links');
assert.deepStrictEqual(list('--no-limit', '--page-size', '1').length, 3);

const [service] = answer(['api:messaging:v1:services:list']);
const later = new Date(Date.now() + 3600e3).toISOString();
const [scheduled] = answer([
  `${messages}:create`, '--to', PHONE, '--messaging-service-sid', service.sid, '--body', 'later',
  '--schedule-type', 'fixed', '--send-at', later,
]);
assert.strictEqual(scheduled.status, 'scheduled');
const cancel = [`${messages}:update`, '--sid', scheduled.sid, '--status', 'canceled'];
assert.strictEqual(answer(cancel)[0].status, 'canceled');
refused(30409, cancel);
assert.strictEqual(answer([`${messages}:update`, '--sid', made[0].sid, '--body', ''])[0].body, '');
answer([`${messages}:remove`, '--sid', made[1].sid]);
refused(20404, [`${messages}:fetch`, '--sid', made[1].sid]);

assert.deepStrictEqual(answer(['api:core:accounts:fetch', '--sid', SID])[0].status, 'active');
// twilio-cli has no `fetch` for the balance and finds no list in the answer: what it read shows in its debug log alone.
const balance = run(['api:core:balance:list', '-l', 'debug']);
assert.strictEqual(balance.status, 0);
assert.match(balance.stderr, /accountSid, balance, currency/);
assert.strictEqual(answer(['phone-numbers:list'])[0].phoneNumber, NUMBER);
assert.strictEqual(answer(['api:core:incoming-phone-numbers:list', '--phone-number', NUMBER])[0].phoneNumber, NUMBER);
assert.strictEqual(answer(['api:lookups:v2:phone-numbers:fetch', '--phone-number', PHONE])[0].valid, true);

const changed = (name, value) => {
  const args = text('x');
  args[args.indexOf(name) + 1] = value;
  return args;
};
refused(21211, changed('--to', '12345678'));
refused(21659, changed('--from', '+12025550199'));
refused(21617, changed('--body', 'x'.repeat(1601)));
refused(20003, [`${messages}:list`], { TWILIO_AUTH_TOKEN: 'wrong' });

fs.rmSync(home, { recursive: true, force: true });
console.log('twilio-cli: ok');
