// Builds the example applications with what is in dist/, as an application would find it in node_modules.
// `npm run examples -- vue --serve` serves one for development.
import { fileURLToPath } from 'node:url';
import vue from '@vitejs/plugin-vue';
import { build, createServer } from 'vite';

const dist = (name) => fileURLToPath(new URL(`../dist/${name}.js`, import.meta.url));
const config = (name) => ({
  root: fileURLToPath(new URL(`../examples/${name}`, import.meta.url)),
  configFile: false,
  base: './',
  logLevel: 'warn',
  plugins: name === 'vue' ? [vue()] : [],
  esbuild: { jsx: 'automatic' },
  resolve: {
    alias: [
      { find: 'tidings-client/vue', replacement: dist('vue') },
      { find: 'tidings-client/react', replacement: dist('react') },
      { find: 'tidings-client', replacement: dist('client') },
    ],
  },
  build: { target: 'es2020', emptyOutDir: true },
});

const [only, serve] = process.argv.slice(2);
for (const name of only ? [only] : ['vue', 'react']) {
  if (serve) {
    const server = await createServer(config(name));
    await server.listen();
    server.printUrls();
  } else {
    await build(config(name));
    console.log(`examples/${name}/dist`);
  }
}
