// Builds dist/: client.js, which the gateway embeds and serves at /client.js, the hooks beside it, and the types.
import { execFileSync } from 'node:child_process';
import { build } from 'esbuild';

const options = {
  bundle: true,
  format: 'esm',
  target: 'es2020',
  charset: 'utf8',
  minify: true,
  mangleProps: /^_/, // what is private
  legalComments: 'none',
  logLevel: 'warning',
};
await build({ ...options, entryPoints: ['src/index.ts'], outfile: 'dist/client.js' });
for (const name of ['vue', 'react']) {
  await build({
    ...options,
    entryPoints: [`src/${name}.ts`],
    outfile: `dist/${name}.js`,
    external: ['vue', 'react'],
    plugins: [
      {
        name: 'one core for all entries',
        setup: (b) => b.onResolve({ filter: /^\.\/index\.ts$/ }, () => ({ path: './client.js', external: true })),
      },
    ],
  });
}
execFileSync('node_modules/.bin/tsc', ['--emitDeclarationOnly'], { stdio: 'inherit' });
