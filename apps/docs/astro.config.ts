import starlight from '@astrojs/starlight';
import { defineConfig } from 'astro/config';
import starlightLinksValidator from 'starlight-links-validator';
import starlightLlmsTxt from 'starlight-llms-txt';
import { preparePages } from './site/pages.ts';
import { reference } from './site/reference.ts';
import { sidebar } from './site/sidebar.ts';

const addresses = preparePages();
const address = process.env['SITE_URL'] ?? 'http://localhost:4321';

export default defineConfig({
  site: address,
  // Pictures are drawings, which need no other size.
  image: { service: { entrypoint: 'astro/assets/services/noop' } },
  integrations: [
    starlight({
      title: 'Lockstep',
      description: 'A write-through cache for Node.js that keeps Redis in step with the database.',
      favicon: '/favicon.svg',
      logo: { src: './public/favicon.svg', alt: '' },
      customCss: ['./src/styles/site.css'],
      lastUpdated: false,
      plugins: [
        ...reference.map(({ plugin }) => plugin),
        starlightLlmsTxt({ exclude: ['reference/**'] }),
        starlightLinksValidator(),
      ],
      sidebar: [
        ...sidebar(addresses),
        { label: 'API by package', collapsed: true, items: reference.map(({ group }) => group) },
      ],
    }),
  ],
});
