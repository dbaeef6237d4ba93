// Builds dist/: client.js, which the gateway embeds and serves at /client.js, with what it loads only where it is needed, the hooks,
// and the types.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { build } from 'esbuild';

const files = { index: 'client', tabs: 'client-tabs', sse: 'client-sse', vue: 'vue', react: 'react' };
const apart = ['index', 'tabs', 'sse']; // in files of their own, for all who import them

rmSync('dist', { recursive: true, force: true });
for (const [name, file] of Object.entries(files)) {
  await build({
    entryPoints: [`src/${name}.ts`],
    outfile: `dist/${file}.js`,
    bundle: true,
    format: 'esm',
    target: 'es2020',
    charset: 'utf8',
    minify: true,
    mangleProps: /^_/, // what is private
    legalComments: 'none',
    logLevel: 'warning',
    external: ['vue', 'react'],
    plugins: [
      {
        name: 'files of their own',
        setup: (b) =>
          b.onResolve({ filter: /^\.\/\w+\.ts$/ }, ({ path, kind }) => {
            const wanted = path.slice(2, -3);
            return kind !== 'entry-point' && apart.includes(wanted) ? { path: `./${files[wanted]}.js`, external: true } : undefined;
          }),
      },
    ],
  });
}
execFileSync('node_modules/.bin/tsc', ['--emitDeclarationOnly'], { stdio: 'inherit' });
// Older compilers look for types behind .js only.
for (const name of readdirSync('dist/types')) {
  const path = `dist/types/${name}`;
  writeFileSync(path, readFileSync(path, 'utf8').replace(/(from|import\()( ?)'(\.\/\w+)\.ts'/g, "$1$2'$3.js'"));
}
