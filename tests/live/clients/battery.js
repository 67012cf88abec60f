// node-postgres against one server; prints its transcript as JSON lines [step, value].
// Reads the address from the environment (PGHOST ..., HP_SSLMODE, HP_CA); no secret on the command line.
'use strict';

const fs = require('node:fs');
const { pipeline } = require('node:stream/promises');
const { Readable, Writable } = require('node:stream');
const pg = require('pg');
const Cursor = require('pg-cursor');
const QueryStream = require('pg-query-stream');
const copyStreams = require('pg-copy-streams');

const ssl = process.env.HP_SSLMODE === 'disable' ? false : { ca: fs.readFileSync(process.env.HP_CA, 'utf8') };
const note = (step, value) => process.stdout.write(JSON.stringify([step, value === undefined ? null : value]) + '\n');

async function expectError(step, run) {
  try {
    await run();
    note(step, 'no error');
  } catch (error) {
    note(step, [error.code, error.message, error.detail]);
  }
}

async function queries(client) {
  note('who', (await client.query('SELECT current_user, current_database()')).rows);
  const notices = [];
  client.on('notice', (each) => notices.push(each.message));
  await client.query("DO $$ BEGIN RAISE NOTICE 'from node'; END $$");
  note('notices', notices);
  const types = [
    ['int4', 42], ['int8', '9007199254740993'], ['float8', 1.5], ['bool', true], ['text', 'ünï 🐘'],
    ['bytea', Buffer.from([0, 255])], ['text[]', ['a', null, 'c,d']], ['jsonb', { a: [1] }], ['text', null],
    ['timestamptz', new Date(0)],
  ];
  for (const [type, value] of types) {
    const { rows } = await client.query(`SELECT $1::${type} AS v`, [value]);
    note(type, rows[0].v instanceof Buffer ? rows[0].v.toString('hex') : rows[0].v);
  }
  for (let n = 0; n < 3; n++) {
    const { rows } = await client.query({ name: 'twice', text: 'SELECT $1::int * 2 AS v', values: [n] });
    note('named', rows);
  }
  note('array mode', (await client.query({ text: 'SELECT 1, 2', rowMode: 'array' })).rows);
  note('binary', (await client.query({ text: 'SELECT $1::int AS v', values: [7], binary: true })).rows);
  note('multi', (await client.query('SELECT 1 AS a; SELECT 2 AS b')).map((each) => each.rows));
  note('empty', (await client.query('')).command);
  await expectError('division', () => client.query('SELECT 1 / $1::int', [0]));
  await expectError('syntax', () => client.query('SELEKT 1'));
  note('usable', (await client.query('SELECT 1 AS ok')).rows);
  // Queued without waiting: answers must come back in order.
  note('queued', (await Promise.all([...Array(200).keys()].map((n) => client.query('SELECT $1::int AS n', [n])))).map((r) => r.rows[0].n));
}

async function streams(client) {
  await client.query('CREATE TEMP TABLE t (id int, v text)');
  const lines = [...Array(2000).keys()].map((n) => `${n}\tvalue ${n}\n`);
  await pipeline(Readable.from(lines), client.query(copyStreams.from('COPY t FROM STDIN')));
  note('copied in', (await client.query('SELECT count(*)::int AS n FROM t')).rows);
  let bytes = 0;
  const sink = new Writable({ write(chunk, _encoding, done) { bytes += chunk.length; done(); } });
  await pipeline(client.query(copyStreams.to('COPY t TO STDOUT')), sink);
  note('copied out', bytes);
  const cursor = client.query(new Cursor('SELECT * FROM t ORDER BY id'));
  note('cursor', [(await cursor.read(100)).length, (await cursor.read(10))[9]]);
  await cursor.close(); // a suspended portal, closed before its end
  let rows = 0;
  for await (const _ of client.query(new QueryStream('SELECT * FROM t WHERE id > $1', [10], { batchSize: 64 }))) rows++;
  note('query stream', rows);
  await expectError('bad copy', () => pipeline(Readable.from(['x\ty\n']), client.query(copyStreams.from('COPY t FROM STDIN'))));
}

async function transactions(client) {
  await client.query('BEGIN');
  await client.query('CREATE TEMP TABLE u (id int PRIMARY KEY)');
  await client.query('INSERT INTO u VALUES ($1)', [1]);
  await expectError('duplicate', () => client.query('INSERT INTO u VALUES ($1)', [1]));
  await expectError('aborted', () => client.query('SELECT 1'));
  note('commit of an aborted transaction', (await client.query('COMMIT')).command);
  await client.query('LISTEN node_news');
  const heard = new Promise((resolve) => client.once('notification', (each) => resolve([each.channel, each.payload])));
  await client.query("NOTIFY node_news, 'hello'");
  note('heard', await heard);
}

async function main() {
  const client = new pg.Client({ ssl, connectionTimeoutMillis: 20000 });
  await client.connect();
  await queries(client);
  await streams(client);
  await transactions(client);
  await client.end();
  const pool = new pg.Pool({ ssl, max: 4, connectionTimeoutMillis: 20000 });
  const answers = await Promise.all([...Array(40).keys()].map((n) => pool.query('SELECT $1::int + 1 AS n', [n])));
  note('pool', answers.map((each) => each.rows[0].n));
  await pool.end();
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
