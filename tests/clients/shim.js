// Loaded by `NODE_OPTIONS=--require` before anything else: sends what is meant for any host of Twilio's to the sandbox.
// Whatever else would leave the machine (update checks) is turned into a refused connection.
'use strict';

const http = require('http');
const https = require('https');

const base = new URL(process.env.TWILIO_API_BASE_URL);

function redirected(original, secure) {
  return function request(first, second, third) {
    let options = typeof first === 'string' || first instanceof URL ? urlOptions(new URL(first)) : {};
    const rest = typeof first === 'string' || first instanceof URL ? [second, third] : [first, second];
    const callback = rest.find((value) => typeof value === 'function');
    options = Object.assign(options, rest.find((value) => value && typeof value === 'object'));
    const host = options.hostname || String(options.host || '').split(':')[0];
    if (/^(localhost|127\.0\.0\.1|\[?::1\]?)?$/.test(host)) return original.apply(this, arguments);
    if (!secure || !/\.twilio\.com$/.test(host)) return original.call(this, { host: '127.0.0.1', port: 9 }, callback);

    const headers = Object.assign({}, options.headers, { host: base.host });
    for (const name of Object.keys(headers)) if (name === 'Host') delete headers[name];
    const local = { protocol: 'http:', hostname: base.hostname, host: base.hostname, port: base.port, headers };
    return plain(Object.assign({}, options, local, { agent: undefined, agents: undefined }), callback);
  };
}

function urlOptions(url) {
  return { protocol: url.protocol, hostname: url.hostname, port: url.port, path: url.pathname + url.search };
}

const plain = http.request;
https.request = redirected(https.request, true);
http.request = redirected(plain, false);
https.get = function get() {
  const request = https.request.apply(https, arguments);
  request.end();
  return request;
};
