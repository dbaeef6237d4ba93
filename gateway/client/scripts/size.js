// Fails when the core is larger than promised.
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const most = 5 * 1024;
const text = readFileSync('dist/client.js');
const size = gzipSync(text, { level: 9 }).length;
console.log(`dist/client.js: ${text.length} bytes, ${size} gzipped, of ${most}`);
if (size > most) {
  console.error(`The core is ${size - most} bytes too large: what could be shorter, or live in an entry of its own?`);
  process.exit(1);
}
