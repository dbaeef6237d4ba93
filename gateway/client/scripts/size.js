// Fails when the core is larger than promised.
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const most = 5 * 1024;
const sizes = ['client', 'client-tabs', 'client-sse', 'vue', 'react'].map((name) => {
  const text = readFileSync(`dist/${name}.js`);
  const size = gzipSync(text, { level: 9 }).length;
  console.log(`dist/${name}.js: ${text.length} bytes, ${size} gzipped`);
  return size;
});
if (sizes[0] > most) {
  console.error(`The core is ${sizes[0] - most} bytes too large: what could be shorter, or live in a file of its own?`);
  process.exit(1);
}
