// Bundles test/*.test.ts for Node and runs them with its test runner. Arguments are passed on to it.
import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { build } from 'esbuild';

const out = 'node_modules/.cache/test';
rmSync(out, { recursive: true, force: true });
const tests = readdirSync('test').filter((name) => name.endsWith('.test.ts'));
await build({
  entryPoints: tests.map((name) => 'test/' + name),
  outdir: out,
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node18',
  sourcemap: 'inline',
  packages: 'external',
  logLevel: 'warning',
});
const files = tests.map((name) => `${out}/${name.replace(/ts$/, 'js')}`);
process.exit(spawnSync(process.execPath, ['--test', '--enable-source-maps', ...process.argv.slice(2), ...files], { stdio: 'inherit' }).status ?? 1);
