"""The works whose methods are built here: one key per work, cited by ``@register(..., paper=key)``."""

from __future__ import annotations

PAPERS: dict[str, str] = {
    "adebayo2018": "Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim. Sanity Checks for Saliency Maps. NeurIPS 2018. "
    "arXiv:1810.03292",
    "agrawal1994": "Agrawal, Srikant. Fast Algorithms for Mining Association Rules in Large Databases. VLDB 1994, 487–499.",
    "arras2022": "Arras, Osman, Samek. CLEVR-XAI: A benchmark dataset for the ground truth evaluation of neural network "
    "explanations. Information Fusion 81, 14–40, 2022. arXiv:2003.07258",
    "bach2015": "Bach, Binder, Montavon, Klauschen, Müller, Samek. On Pixel-Wise Explanations for Non-Linear Classifier "
    "Decisions by Layer-Wise Relevance Propagation. PLoS ONE 10(7), e0130140, 2015. doi:10.1371/journal.pone.0130140",
    "chattopadhay2018": "Chattopadhay, Sarkar, Howlader, Balasubramanian. Grad-CAM++: Generalized Gradient-Based Visual "
    "Explanations for Deep Convolutional Networks. WACV 2018. arXiv:1710.11063",
    "cheng2022hierarchical": "Cheng, Jiang, Han, Wang, Torr. Deeply Explain CNN via Hierarchical Decomposition. 2022. "
    "arXiv:2201.09205",
    "cheng2022tsgb": "Cheng, Fang, Liang, Zhang, Shen, Wang. TSGB: Target-Selective Gradient Backprop for Probing CNN Visual "
    "Saliency. IEEE Transactions on Image Processing 31, 2529–2540, 2022. arXiv:2110.05182",
    "cheng2025": "Cheng, He, Chen, Yao, Lin. Class activation mapping for shallow layers by relevance propagation. "
    "Computer Science 52(6A), 240500140, 2025. doi:10.11896/jsjkx.240500140",
    "dosovitskiy2016": "Dosovitskiy, Brox. Inverting Visual Representations with Convolutional Networks. CVPR 2016. "
    "arXiv:1506.02753",
    "draelos2020": "Draelos, Carin. Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural "
    "networks. 2020. arXiv:2011.08891",
    "fu2020": "Fu, Hu, Dong, Guo, Gao, Li. Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs. "
    "BMVC 2020. arXiv:2008.02312",
    "gildenblat2021": "Gildenblat and contributors. PyTorch library for CAM methods (elementwise Grad-CAM, Eigen-Grad-CAM). "
    "2021.",
    "gu2018": "Gu, Yang, Tresp. Understanding Individual Decisions of CNNs via Contrastive Backpropagation. ACCV 2018. "
    "arXiv:1812.02100",
    "iwana2019": "Iwana, Kuroki, Uchida. Explaining Convolutional Neural Networks using Softmax Gradient Layer-wise "
    "Relevance Propagation. ICCV workshop 2019. arXiv:1908.04351",
    "jiang2021": "Jiang, Zhang, Hou, Cheng, Wei. LayerCAM: Exploring Hierarchical Class Activation Maps for Localization. "
    "IEEE Transactions on Image Processing 30, 2021. doi:10.1109/TIP.2021.3089943",
    "lee2021": "Lee, Kim, Park, Eo, Hwang. Relevance-CAM: Your Model Already Knows Where to Look. CVPR 2021. "
    "doi:10.1109/CVPR46437.2021.01470",
    "lu2023": "Lü, Zhao, Jia, Han. Explanation of image classification by neurons and semantic features (CGNIS, IRENet). "
    "Computer Engineering 49(11), 220–230, 2023. doi:10.19678/j.issn.1000-3428.0066122",
    "lucas2022": "Lucas, Lerma, Furst, Raicu. RSI-Grad-CAM: Visual Explanations from Deep Networks via Riemann-Stieltjes "
    "Integrated Gradient-Based Localization. ISVC 2022. arXiv:2205.10900",
    "molchanov2017": "Molchanov, Tyree, Karras, Aila, Kautz. Pruning Convolutional Neural Networks for Resource Efficient "
    "Inference. ICLR 2017. arXiv:1611.06440",
    "muhammad2020": "Muhammad, Yeasin. Eigen-CAM: Class Activation Map using Principal Components. IJCNN 2020. arXiv:2008.00299",
    "pang2021": "Pang. Image classification method based on interpretable CNN. Master's thesis, Xidian University, 2021.",
    "petsiuk2018": "Petsiuk, Das, Saenko. RISE: Randomized Input Sampling for Explanation of Black-box Models. BMVC 2018. "
    "arXiv:1806.07421",
    "qiu2023": "Qiu, Jin, Zhang. Empowering CAM-Based Methods with Capability to Generate Fine-Grained and High-Faithfulness "
    "Explanations. 2023. arXiv:2303.09171",
    "sattarzadeh2021": "Sattarzadeh, Sudhakar, Plataniotis, Jang, Jeong, Kim. Integrated Grad-CAM: Sensitivity-Aware Visual "
    "Explanation of Deep Convolutional Networks via Integrated Gradient-Based Scoring. ICASSP 2021. arXiv:2102.07805",
    "selvaraju2017": "Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra. Grad-CAM: Visual Explanations from Deep Networks via "
    "Gradient-Based Localization. ICCV 2017. arXiv:1610.02391",
    "shrikumar2017": "Shrikumar, Greenside, Kundaje. Learning Important Features Through Propagating Activation Differences. "
    "ICML 2017. arXiv:1704.02685",
    "simonyan2013": "Simonyan, Vedaldi, Zisserman. Deep Inside Convolutional Networks: Visualising Image Classification Models "
    "and Saliency Maps. ICLR workshop 2014. arXiv:1312.6034",
    "smilkov2017": "Smilkov, Thorat, Kim, Viégas, Wattenberg. SmoothGrad: removing noise by adding noise. 2017. arXiv:1706.03825",
    "springenberg2014": "Springenberg, Dosovitskiy, Brox, Riedmiller. Striving for Simplicity: The All Convolutional Net. "
    "ICLR workshop 2015. arXiv:1412.6806",
    "srinivas2019": "Srinivas, Fleuret. Full-Gradient Representation for Neural Network Visualization. NeurIPS 2019. "
    "arXiv:1905.00780",
    "sun2023": "Sun and others. CF-CAM, a coarse-to-fine class activation map by contrastive relevance. 2023. Known here by its "
    "description alone.",
    "sundararajan2017": "Sundararajan, Taly, Yan. Axiomatic Attribution for Deep Networks. ICML 2017. arXiv:1703.01365",
    "wang2020": "Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu. Score-CAM: Score-Weighted Visual Explanations for "
    "Convolutional Neural Networks. CVPR workshop 2020. arXiv:1910.01279",
    "yu2018": "Yu, Li, Chen, Lai, Morariu, Han, Gao, Lin, Davis. NISP: Pruning Networks using Neuron Importance Score "
    "Propagation. CVPR 2018. arXiv:1711.05908",
    "zeiler2014": "Zeiler, Fergus. Visualizing and Understanding Convolutional Networks. ECCV 2014. arXiv:1311.2901",
    "zhang2018": "Zhang, Bargal, Lin, Brandt, Shen, Sclaroff. Top-Down Neural Attention by Excitation Backprop. International "
    "Journal of Computer Vision 126, 2018. arXiv:1608.00507",
    "zhang2018interpretable": "Zhang, Wu, Zhu. Interpretable Convolutional Neural Networks. CVPR 2018. arXiv:1710.00935",
    "zhang2024": "Zhang, Torres, Sicre, Avrithis, Ayache. Opti-CAM: Optimizing saliency maps for interpretability. Computer "
    "Vision and Image Understanding 248, 2024. arXiv:2301.07002",
    "zhou2016": "Zhou, Khosla, Lapedriza, Oliva, Torralba. Learning Deep Features for Discriminative Localization. CVPR 2016. "
    "arXiv:1512.04150",
    "burt1983": "Burt, Adelson. The Laplacian Pyramid as a Compact Image Code. IEEE Transactions on Communications 31(4), "
    "532–540, 1983.",
    "fel2023": "Fel, Boissin, Boutin, Picard, Novello, Colin, Linsley, Rousseau, Cadène, Goetschalckx, Gardes, Serre. "
    "Unlocking Feature Visualization for Deep Networks with Magnitude Constrained Optimization. NeurIPS 2023. "
    "arXiv:2306.06805",
    "mahendran2015": "Mahendran, Vedaldi. Understanding Deep Image Representations by Inverting Them. CVPR 2015. arXiv:1412.0035",
    "olah2017": "Olah, Mordvintsev, Schubert. Feature Visualization. Distill 2(11), 2017. doi:10.23915/distill.00007",
    "tao2017": "Tao, Fu, Zhu, Wang. On activation maximization with spatial pyramids. Journal of Harbin Institute of Technology "
    "49(11), 60, 2017. doi:10.11918/j.issn.0367-6234.201612087. Known here by its abstract.",
    "yosinski2015": "Yosinski, Clune, Nguyen, Fuchs, Lipson. Understanding Neural Networks Through Deep Visualization. ICML "
    "workshop 2015. arXiv:1506.06579",
    "dhamdhere2018": "Dhamdhere, Sundararajan, Yan. How Important Is a Neuron? ICLR 2019. arXiv:1805.12233",
    "ghorbani2020": "Ghorbani, Zou. Neuron Shapley: Discovering the Responsible Neurons. NeurIPS 2020. arXiv:2002.09815",
    "leino2018": "Leino, Sen, Datta, Fredrikson, Li. Influence-Directed Explanations for Deep Convolutional Networks. IEEE "
    "International Test Conference 2018. arXiv:1802.03788",
    "mitchell2022": "Mitchell, Cooper, Frank, Holmes. Sampling Permutations for Shapley Value Estimation. Journal of Machine "
    "Learning Research 23, 2022. arXiv:2104.12199",
    "morcos2018": "Morcos, Barrett, Rabinowitz, Botvinick. On the importance of single directions for generalization. ICLR "
    "2018. arXiv:1803.06959",
    "godbole2004": "Godbole, Sarawagi. Discriminative Methods for Multi-labeled Classification. PAKDD 2004. "
    "doi:10.1007/978-3-540-24775-3_5",
    "he2016": "He, Zhang, Ren, Sun. Deep Residual Learning for Image Recognition. CVPR 2016. arXiv:1512.03385",
    "milletari2016": "Milletari, Navab, Ahmadi. V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image "
    "Segmentation. 3DV 2016. arXiv:1606.04797",
    "simonyan2014": "Simonyan, Zisserman. Very Deep Convolutional Networks for Large-Scale Image Recognition. ICLR 2015. "
    "arXiv:1409.1556",
    "wang2020eca": "Wang, Wu, Zhu, Li, Zuo, Hu. ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks. "
    "CVPR 2020. arXiv:1910.03151",
}
