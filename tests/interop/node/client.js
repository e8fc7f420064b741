// A client of one server: calls as lines of JSON on standard input, and how each ended as a line on standard output.
'use strict';

const readline = require('node:readline');
const grpc = require('@grpc/grpc-js');

const UNLIMITED = 1 << 30;
const ALGORITHMS = {
  identity: grpc.compressionAlgorithms.identity,
  deflate: grpc.compressionAlgorithms.deflate,
  gzip: grpc.compressionAlgorithms.gzip,
};
const asIs = (bytes) => bytes;
const clients = new Map();

function clientWith(encoding) {
  if (!clients.has(encoding)) {
    const client = new grpc.Client(process.argv[2], grpc.credentials.createInsecure(), {
      'grpc.max_receive_message_length': UNLIMITED,
      'grpc.max_send_message_length': UNLIMITED,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.default_compression_algorithm': ALGORITHMS[encoding],
    });
    clients.set(encoding, client);
  }
  return clients.get(encoding);
}

function metadataOf(pairs) {
  const metadata = new grpc.Metadata();
  for (const [key, value] of pairs) {
    metadata.add(key, key.endsWith('-bin') ? Buffer.from(value, 'base64') : value);
  }
  return metadata;
}

function pairsOf(metadata) {
  const text = (value) => (Buffer.isBuffer(value) ? value.toString('base64') : value);
  return Object.entries(metadata.getMap()).map(([key, value]) => [key, text(value)]);
}

function makeCall(asked) {
  const client = clientWith(asked.encoding);
  const metadata = metadataOf(asked.metadata);
  const options = { deadline: Date.now() + asked.timeout_s * 1000 };
  const bodies = asked.bodies.map((body) => Buffer.from(body, 'base64'));
  const received = [];
  const end = (status) => {
    const answer = {
      code: status.code,
      message: status.details,
      bodies: received.map((body) => body.toString('base64')),
      trailing: pairsOf(status.metadata),
    };
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  };
  if (asked.kind === 'unary') {
    const call = client.makeUnaryRequest(
      asked.method, asIs, asIs, bodies[0], metadata, options,
      (error, body) => { if (!error) received.push(body); },
    );
    call.on('status', (status) => setImmediate(end, status));
    if (asked.cancel_after === 0) call.cancel();
    return;
  }
  const call = asked.kind === 'bidi'
    ? client.makeBidiStreamRequest(asked.method, asIs, asIs, metadata, options)
    : client.makeServerStreamRequest(asked.method, asIs, asIs, bodies[0], metadata, options);
  let sent = 0;
  const send = () => {
    if (asked.kind !== 'bidi') return;
    while (sent < bodies.length) {
      call.write(bodies[sent]);
      sent += 1;
      if (asked.takes_turns) return;
    }
    if (!asked.stays_open) call.end();
  };
  call.on('data', (body) => {
    received.push(body);
    if (received.length === asked.cancel_after) call.cancel();
    else if (asked.takes_turns) send();
  });
  call.on('error', () => {});
  call.on('status', end);
  if (asked.cancel_after === 0) call.cancel();
  send();
}

readline.createInterface({ input: process.stdin })
  .on('line', (line) => makeCall(JSON.parse(line)))
  .on('close', () => process.exit(0));
